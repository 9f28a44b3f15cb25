"""What a stage costs: pairs a second, floating-point operations a step, peak memory."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from limbeck.files import write_json
from limbeck.training.metrics_log import MetricsLog

SAMPLES = (8, 12, 16)
"""Pairs of the small batches that are counted. A step costs a + b n + c n², which three of them settle."""


class StageClock:
    """Seconds of training without those of validation, beside each logged step, and the record at the end.

    ``clock.jsonl`` stands apart from ``metrics.jsonl``, which two equal runs write alike byte by byte.
    """

    def __init__(self, folder: Path, batch_size: int, *, step: int, seconds: float) -> None:
        """Go on at a step, after so many seconds."""
        self.folder, self.batch_size = folder, batch_size
        self.log = MetricsLog(folder / "clock.jsonl", resume_step=step)
        self.began = time.monotonic() - seconds
        reset_peak()

    @property
    def seconds(self) -> float:
        """Of training so far; saving counts, validation does not."""
        return time.monotonic() - self.began

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Time that does not count."""
        start = time.monotonic()
        yield
        self.began += time.monotonic() - start

    def note(self, step: int) -> None:
        """Write down when a step was done."""
        seconds = round(self.seconds, 3)
        self.log.write({"step": step, "pairs": step * self.batch_size, "seconds": seconds})

    def finish(self, step: int, flops: Callable[[], int] | None) -> None:
        """Write ``efficiency.json``; operations are counted once time and memory are noted."""
        pairs, seconds = step * self.batch_size, self.seconds
        record: dict[str, Any] = {
            "pairs": pairs,
            "seconds": round(seconds, 3),
            "pairs_per_second": round(pairs / max(seconds, 1e-9), 1),
            "peak_memory": peak_memory(),
        }
        record["flops_per_step"] = flops() if flops else None
        write_json(self.folder / "efficiency.json", record)


def extrapolate(counts: dict[int, int], batch_size: int) -> int:
    """The value at ``batch_size`` of the parabola through three counts, in exact whole numbers."""
    (x0, y0), (x1, y1), (x2, y2) = sorted(counts.items())
    first = y0 * (batch_size - x1) * (batch_size - x2) * (x2 - x1)
    second = y1 * (batch_size - x0) * (batch_size - x2) * (x2 - x0)
    third = y2 * (batch_size - x0) * (batch_size - x1) * (x1 - x0)
    return round((first - second + third) / ((x1 - x0) * (x2 - x0) * (x2 - x1)))


def reset_peak() -> None:
    """Start a new peak, since one process may train several runs; where that fails it is the process's."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Bytes: on the GPU what tensors took at most, else the process's largest resident size.

    None where the system does not tell, as Windows.
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(largest if sys.platform == "darwin" else 1024 * largest)
