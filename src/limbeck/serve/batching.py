"""Collects concurrent queries, and answers them together on one worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from limbeck.errors import LimbeckError

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Answers queries in batches; one batch at a time is with the worker, the next one collects meanwhile."""

    def __init__(
        self,
        worker: ThreadPoolExecutor,
        answer: Callable[[Sequence[Q]], Sequence[A | LimbeckError]],
        *,
        most: int,
        wait_ms: float,
    ) -> None:
        """Set up an empty batch.

        Args:
            worker: runs ``answer``.
            answer: returns one answer or error per query.
            most: the largest number of queries in a batch.
            wait_ms: how long the first query of an idle batcher waits for others.
        """
        self._worker, self._answer = worker, answer
        self._most, self._wait = most, wait_ms / 1000 if most > 1 else 0.0
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._busy = False

    async def ask(self, query: Q) -> A:
        """Return the answer to a query.

        Raises:
            LimbeckError: the query failed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((query, future))
        if not self._busy:
            self._busy = True
            loop.call_later(self._wait, self._start, loop)
        return await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the oldest waiting queries to the worker."""
        batch = [pair for pair in self._waiting[: self._most] if not pair[1].done()]  # others were cancelled
        del self._waiting[: self._most]
        if not batch:
            self._busy = bool(self._waiting)
            if self._busy:
                loop.call_soon(self._start, loop)
            return

        def run() -> None:
            answers: Sequence[A | Exception]
            try:
                answers = self._answer([query for query, _ in batch])
            except Exception as error:  # a fault of ours: every query of the batch gets it
                answers = [error] * len(batch)
            loop.call_soon_threadsafe(self._finish, loop, batch, answers)

        self._worker.submit(run)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[tuple[Q, asyncio.Future[A]]],
        answers: Sequence[A | Exception],
    ) -> None:
        if self._waiting:
            self._start(loop)
        else:
            self._busy = False
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
