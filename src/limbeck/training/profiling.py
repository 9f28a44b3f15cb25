"""``limbeck train --profile``: a trace of some steps, and where their time goes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, record_function

from limbeck.files import atomic_file

FIRST, STEPS = 5, 10
"""Steps before the trace begins, and steps in it."""
PHASES = ("data", "forward", "backward", "optimizer")
_PREFIX = "limbeck."
T = TypeVar("T")


def phase(name: str) -> record_function:
    """Return a context that marks a phase of a step in a trace; it costs about a microsecond without one."""
    return record_function(_PREFIX + name)


def waited(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, and mark the time until each comes as the phase ``data``."""
    source = iter(items)
    while True:
        with phase("data"):
            try:
                item = next(source)
            except StopIteration:
                return
        yield item


class Profile:
    """Trace `STEPS` steps of a stage to ``trace.json`` (for chrome://tracing or Perfetto).

    The time is that of the process; on a GPU the phases only start its work, and its time is counted apart.
    """

    def __init__(self, folder: Path, first: int, total: int) -> None:
        """Trace from a few steps after ``first``, or at once where ``total`` steps are too few."""
        self.file = folder / "trace.json"
        self.start = min(first + FIRST, max(first, total - STEPS))
        self.stop = min(self.start + STEPS, total)
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self.profiler = torch.profiler.profile(activities=activities)
        self.began = 0.0

    def before(self, step: int) -> None:
        """Begin the trace before its first step."""
        if step == self.start:
            self.profiler.__enter__()
            self.began = time.perf_counter()

    def after(self, done: int) -> list[str]:
        """End and write the trace after its last step, and return where the time went; else return []."""
        if done != self.stop or not self.began:
            return []
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self.began
        self.profiler.__exit__(None, None, None)
        with atomic_file(self.file) as stream:
            self.profiler.export_chrome_trace(stream.name)
        return self._report(seconds)

    def _report(self, seconds: float) -> list[str]:
        events = {e.key: e for e in self.profiler.key_averages()}
        steps = self.stop - self.start
        lines = [f"profile of {steps} steps, {1000 * seconds / steps:.1f} ms per step; trace: {self.file}"]
        left = seconds
        for name in PHASES:
            event = events.get(_PREFIX + name)
            if event is None:
                continue
            own = event.cpu_time_total / 1e6
            left -= own
            device = event.device_time_total / 1e6
            more = f", {1000 * device / steps:.1f} ms on the device" if device else ""
            lines.append(f"  {name:<10} {own / seconds:>6.1%}  {1000 * own / steps:.1f} ms per step{more}")
        lines.append(
            f"  {'other':<10} {max(left, 0) / seconds:>6.1%}  (logging, monitors, the profiler itself)"
        )
        heavy = sorted(
            (e for e in events.values() if not e.key.startswith((_PREFIX, "ProfilerStep"))),
            key=lambda e: -e.self_cpu_time_total,
        )[:3]
        named = ", ".join(f"{e.key} {e.self_cpu_time_total / 1e6 / seconds:.0%}" for e in heavy)
        return [*lines, f"  slowest operators: {named}"]
