"""Decodes and preprocesses pictures in threads while the model works, in order and in full batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from limbeck.errors import LimbeckError
from limbeck.pictures.skipped import Reason

Row = TypeVar("Row")
T = TypeVar("T")


@dataclass
class Step:
    """Holds the rows of one batch.

    Attributes:
        rows: the readable rows, in order.
        failed: (row, reason) of the unreadable rows.
        seen: the number of rows read from the source for this batch, readable or not.
    """

    rows: list[int] = field(default_factory=list)
    failed: list[tuple[int, Reason]] = field(default_factory=list)
    seen: int = 0


def default_workers(processes: int = 1) -> int:
    """Return the default number of decoding threads: one per core that this process may use, at most 16.

    Several ``processes`` of a run share the cores of their machine.
    """
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    return max(1, min(16, cores // processes))


def read_ahead(
    rows: Iterable[Row], read: Callable[[Row], T], ahead: int, workers: int | None = None
) -> Generator[tuple[Row, Future[T]]]:
    """Call ``read`` for rows in threads; yield each row with its future, in order; at most ``ahead`` wait.

    Threads suffice, because PIL releases the interpreter's lock; a process pool would have to copy every
    picture.
    """
    pool = ThreadPoolExecutor(workers or default_workers(), thread_name_prefix="decode")
    try:
        coming = iter(rows)
        waiting = deque((row, pool.submit(read, row)) for row in islice(coming, ahead))
        while waiting:
            yield waiting.popleft()
            waiting.extend((row, pool.submit(read, row)) for row in islice(coming, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def decoded_batches(
    rows: Iterable[int], read: Callable[[int], T], size: int, workers: int | None = None
) -> Iterator[tuple[Step, list[T]]]:
    """Read rows in threads and yield them in order, ``size`` readable rows per batch.

    At most two batches plus one row per thread are read ahead.

    Args:
        rows: row numbers.
        read: reads a row and returns the model's input; a `LimbeckError` means that the row is unreadable.
        size: readable rows per batch; the last batch may be smaller.
        workers: the number of threads; `default_workers` by default.

    Yields:
        The rows of a batch and their inputs.

    Raises:
        SourceDamaged: ``read`` raised it.
        Exception: any other exception of ``read``, at its row.
    """
    count = workers or default_workers()
    step, ready = Step(), list[T]()
    with closing(read_ahead(rows, read, 2 * size + count, count)) as coming:
        for row, future in coming:
            step.seen += 1
            try:
                ready.append(future.result())
                step.rows.append(row)
            except SourceDamaged:
                raise
            except LimbeckError as error:
                step.failed.append((row, Reason.of(error)))
            if len(ready) == size:
                yield step, ready
                step, ready = Step(), []
    if step.seen:
        yield step, ready


class SourceDamaged(LimbeckError):
    """Signals a damaged shard of the source, which makes many items unreadable; it stops the encoding."""
