"""Execute tasks in this process, one at a time, or in several parallel processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from limbeck.environment import environment
from limbeck.grid.work import Outcome, Work, perform
from limbeck.signals import raises_at_sigterm

_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


class Executor(Protocol):
    """The interface of an executor: it accepts tasks while it has free workers, and returns outcomes."""

    @property
    def free(self) -> int:
        """The number of tasks that can be accepted now."""
        ...

    def submit(self, work: Work) -> None:
        """Accept a task; `free` must be at least 1."""
        ...

    def next_outcome(self) -> tuple[str, Outcome]:
        """Wait for a task to end; return its name and outcome."""
        ...


class InProcess:
    """Executes tasks in this process, one at a time, with the progress line of training on a terminal."""

    def __init__(self) -> None:
        self.work: Work | None = None

    @property
    def free(self) -> int:
        """1 if no task is stored, else 0."""
        return int(self.work is None)

    def submit(self, work: Work) -> None:
        """Store a task, which `next_outcome` performs."""
        self.work = work

    def next_outcome(self) -> tuple[str, Outcome]:
        """Perform the stored task; return its name and outcome."""
        from limbeck.training.fit import Interrupted

        work, self.work = self.work, None
        assert work is not None
        try:
            return work.name, perform(work, quiet=not sys.stderr.isatty())
        except Interrupted:
            raise KeyboardInterrupt from None


class ProcessPool:
    """Executes tasks in ``jobs`` processes, which share the threads equally."""

    def __init__(self, jobs: int) -> None:
        cores = environment()[1]["threads"] or 1
        self.threads = max(1, int(cores) // jobs)
        self.context = multiprocessing.get_context("spawn")
        self.members: list[tuple[BaseProcess, Connection]] = []
        self.busy: dict[Connection, Work] = {}
        self.jobs = jobs

    @property
    def free(self) -> int:
        """The number of processes without a task."""
        return self.jobs - len(self.busy)

    def submit(self, work: Work) -> None:
        """Send a task to an idle process, or to a new one; an idle process that died is replaced."""
        for pipe in [pipe for _, pipe in self.members if pipe not in self.busy]:
            if self._send(pipe, work):
                return
            self._remove_dead(pipe)
        pipe = self.start()
        # `next_outcome` detects a process that dies before it receives its task.
        self._send(pipe, work)
        self.busy[pipe] = work

    def _send(self, pipe: Connection, work: Work) -> bool:
        try:
            pipe.send(work)
        except OSError:
            return False
        self.busy[pipe] = work
        return True

    def next_outcome(self) -> tuple[str, Outcome]:
        """Wait for a task to end; return its name and outcome. A process that dies is a failed task."""
        pipe = next(p for p in wait(list(self.busy)) if isinstance(p, Connection))
        work = self.busy.pop(pipe)
        try:
            outcome = pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            code = self._remove_dead(pipe)
            return work.name, Outcome(error=f"its process died (exit code {code}); run the grid again")
        if outcome is None:
            raise KeyboardInterrupt
        return work.name, outcome

    def _remove_dead(self, pipe: Connection) -> int | None:
        """Remove a process that died; return its exit code."""
        process = next(p for p, other in self.members if other is pipe)
        self.members = [member for member in self.members if member[1] is not pipe]
        pipe.close()
        process.join()
        return int(process.exitcode) if process.exitcode is not None else None

    def close(self) -> None:
        """Stop all processes, and wait until running trainings have saved their state."""
        for process, pipe in self.members:
            if pipe in self.busy:
                process.terminate()
            else:
                pipe.close()
        for process, _ in self.members:
            process.join()

    def start(self) -> Connection:
        """Start one process and return the parent's end of its pipe."""
        parent_end, child_end = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(child_end, self.threads), daemon=True)
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, str(self.threads)))
        process.start()
        child_end.close()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        self.members.append((process, parent_end))
        return parent_end


def _serve(pipe: Connection, threads: int) -> None:
    """Run a worker process: receive tasks, send outcomes, and send None when it is stopped."""
    from limbeck.training.fit import Interrupted

    with raises_at_sigterm(), contextlib.suppress(KeyboardInterrupt, EOFError, OSError):
        stop_with_parent()
        import torch

        torch.set_num_threads(threads)
        while True:
            work = pipe.recv()
            try:
                pipe.send(perform(work))
            except (Interrupted, KeyboardInterrupt):
                pipe.send(None)
                return


def stop_with_parent() -> None:
    """Stop this process, as by SIGTERM, when its parent dies, so that no training continues unnoticed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])  # the system closes this pipe when the parent ends for any reason
        if hasattr(signal, "pthread_kill"):  # signal the main thread, to interrupt a blocking call
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


@contextlib.contextmanager
def open_executor(jobs: int) -> Iterator[Executor]:
    """Yield an executor for ``jobs`` jobs: this process for one job; else processes, stopped at the end."""
    if jobs == 1:
        yield InProcess()
        return
    pool = ProcessPool(jobs)
    try:
        yield pool
    finally:
        pool.close()
