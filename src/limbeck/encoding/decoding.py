"""Pictures decoded and made ready by threads while the model works; order is kept, batches are full."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from limbeck.errors import LimbeckError
from limbeck.pictures import Reason

T = TypeVar("T")


@dataclass
class Step:
    """A batch's worth of rows.

    Attributes:
        rows: readable rows, in order.
        failed: (row, reason) of those that are not.
        seen: rows taken from the source since the step before, readable or not.
    """

    rows: list[int] = field(default_factory=list)
    failed: list[tuple[int, Reason]] = field(default_factory=list)
    seen: int = 0


def default_workers() -> int:
    """Threads that decode: one a core that this process may use, at most 16."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(16, len(usable(0)) if usable else os.cpu_count() or 1)


def decoded_batches(
    rows: Sequence[int], read: Callable[[int], T], size: int, workers: int | None = None
) -> Iterator[tuple[Step, list[T]]]:
    """Read rows in threads and hand them on in their order, ``size`` readable ones at a time.

    At most two batches and one row a thread are read ahead, so memory stays bounded. PIL works without the
    interpreter's lock, so threads do; a process pool would copy every picture.

    Args:
        rows: row numbers.
        read: a row to what the model takes; a `LimbeckError` means that it cannot be read.
        size: readable rows in a batch; the last one may be smaller.
        workers: threads; `default_workers` by default.

    Raises:
        Exception: whatever else ``read`` raises, at its place.
    """
    count = default_workers() if workers is None else workers
    pool = ThreadPoolExecutor(count, thread_name_prefix="decode")
    try:
        waiting: deque[tuple[int, Future[T]]] = deque()
        coming = iter(rows)
        step, ready = Step(), list[T]()

        def refill() -> None:
            while len(waiting) < 2 * size + count:
                row = next(coming, None)
                if row is None:
                    return
                waiting.append((row, pool.submit(read, row)))

        refill()
        while waiting:
            row, future = waiting.popleft()
            step.seen += 1
            try:
                ready.append(future.result())
                step.rows.append(row)
            except LimbeckError as error:
                if isinstance(error, SourceDamaged):
                    raise
                step.failed.append((row, Reason.of(error)))
            refill()
            if len(ready) == size:
                yield step, ready
                step, ready = Step(), []
        if step.seen:
            yield step, ready
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class SourceDamaged(LimbeckError):
    """More than one item cannot be read: a shard of the source is damaged. Never passed over."""
