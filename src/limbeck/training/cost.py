"""Measure the cost of a stage: pairs per second, floating-point operations per step, peak memory."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from limbeck.files import write_json
from limbeck.training.metrics_log import MetricsLog
from limbeck.typed import Json


class StageClock:
    """Measure training time without validation; log it per logged step, and write a record at the end.

    The times go to ``clock.jsonl``, so that two equal runs write the same bytes to ``metrics.jsonl``.
    """

    def __init__(self, folder: Path, batch_size: int, *, step: int, seconds: float) -> None:
        """Continue at ``step``, after ``seconds`` of earlier training."""
        self.folder, self.batch_size = folder, batch_size
        self.log = MetricsLog(folder / "clock.jsonl", resume_step=step)
        self.began = time.monotonic() - seconds
        reset_peak()

    @property
    def seconds(self) -> float:
        """The seconds of training so far, with saving and without validation."""
        return time.monotonic() - self.began

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude the time inside this context."""
        start = time.monotonic()
        yield
        self.began += time.monotonic() - start

    def note(self, step: int) -> None:
        """Log the training time at the end of a step."""
        seconds = round(self.seconds, 3)
        self.log.write({"step": step, "pairs": step * self.batch_size, "seconds": seconds})

    def finish(self, step: int, flops: Callable[[], int] | None) -> None:
        """Write ``efficiency.json``; count operations last, so that they add no time and memory."""
        pairs, seconds = step * self.batch_size, self.seconds
        record: dict[str, Json] = {
            "pairs": pairs,
            "seconds": round(seconds, 3),
            "pairs_per_second": round(pairs / max(seconds, 1e-9), 1),
            "peak_memory": peak_memory(),
        }
        record["flops_per_step"] = flops() if flops else None
        write_json(self.folder / "efficiency.json", record)


def reset_peak() -> None:
    """Reset the peak memory, since one process may train several runs.

    Where the system cannot do so, `peak_memory` returns the peak of the whole process.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Return the peak memory in bytes: that of tensors on the GPU, else the process's largest resident set.

    Returns None on systems that do not report it, such as Windows.
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
