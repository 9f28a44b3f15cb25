"""Use several cores by threads around numba kernels, which release the interpreter lock.

Numba's ``parallel=True`` crashes in a process that is forked after its first use (data loaders fork).
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from limbeck.errors import LimbeckError

T = TypeVar("T")


def thread_count(threads: int | None) -> int:
    """Return the number of threads: ``threads``, or one per core that this process may use if None.

    Raises:
        LimbeckError: ``threads`` is not a whole number of at least 1.
    """
    if threads is None:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise LimbeckError(
            f"threads: {threads!r} is not a whole number of at least 1; give 1 or more", code="E-OPTION-RANGE"
        )
    return threads


def run_threads(tasks: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """Run tasks on up to ``threads`` threads, including the caller's; return results in task order."""
    if threads == 1 or len(tasks) < 2:
        return [task() for task in tasks]
    lanes = [tasks[lane::threads] for lane in range(min(threads, len(tasks)))]
    futures = [_pool(threads - 1).submit(_run_lane, lane) for lane in lanes[1:]]
    results = [_run_lane(lanes[0]), *(future.result() for future in futures)]
    return [results[i % len(lanes)][i // len(lanes)] for i in range(len(tasks))]


def spans(total: int, parts: int) -> list[tuple[int, int]]:
    """Split range(total) into at most ``parts`` consecutive, nearly equal, non-empty spans (start, stop)."""
    parts = max(1, min(parts, total))
    edges = [total * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(edges))


def _run_lane(tasks: Sequence[Callable[[], T]]) -> list[T]:
    return [task() for task in tasks]


@functools.lru_cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="limbeck")


if hasattr(os, "register_at_fork"):  # a forked child has no threads and must start new ones
    os.register_at_fork(after_in_child=_pool.cache_clear)
