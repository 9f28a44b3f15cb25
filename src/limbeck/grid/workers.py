"""Who does the work: this process, one task at a time, or several processes side by side."""

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
from typing import Any, Protocol

from limbeck.evaluation.environment import environment
from limbeck.grid.work import Outcome, Work, perform

_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


class Executor(Protocol):
    """Takes work while it has room, and hands back outcomes."""

    @property
    def free(self) -> int:
        """How many more tasks can be taken now."""
        ...

    def give(self, work: Work) -> None:
        """Take a task."""
        ...

    def take(self) -> tuple[str, Outcome]:
        """Wait for a task to end: its name and how it ended."""
        ...


class InProcess:
    """This process: one task at a time, with training's progress line on a terminal."""

    def __init__(self) -> None:
        self.work: Work | None = None

    @property
    def free(self) -> int:
        """One, or none."""
        return int(self.work is None)

    def give(self, work: Work) -> None:
        """Remember a task."""
        self.work = work

    def take(self) -> tuple[str, Outcome]:
        """Do the task."""
        from limbeck.training.fit import Interrupted

        work, self.work = self.work, None
        assert work is not None
        try:
            return work.name, perform(work, quiet=not sys.stderr.isatty())
        except Interrupted:
            raise KeyboardInterrupt from None


class Side:
    """``jobs`` processes with equal shares of the threads."""

    def __init__(self, jobs: int) -> None:
        cores = environment()[1]["threads"] or 1
        self.threads = max(1, int(cores) // jobs)
        self.context = multiprocessing.get_context("spawn")
        self.members: list[tuple[Any, Connection]] = []
        self.busy: dict[Connection, Work] = {}
        self.jobs = jobs

    @property
    def free(self) -> int:
        """Processes without a task."""
        return self.jobs - len(self.busy)

    def give(self, work: Work) -> None:
        """Hand a task to an idle process, a new one if there is none; one that died meanwhile is replaced."""
        for pipe in [pipe for _, pipe in self.members if pipe not in self.busy]:
            if self._hand(pipe, work):
                return
            self._bury(pipe)
        pipe = self.start()
        # A process that dies before it took its task is found by `take`.
        self._hand(pipe, work)
        self.busy[pipe] = work

    def _hand(self, pipe: Connection, work: Work) -> bool:
        try:
            pipe.send(work)
        except OSError:
            return False
        self.busy[pipe] = work
        return True

    def take(self) -> tuple[str, Outcome]:
        """Wait for a process; one that died, at whatever moment, is a failed task."""
        pipe = next(p for p in wait(list(self.busy)) if isinstance(p, Connection))
        work = self.busy.pop(pipe)
        try:
            outcome = pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            code = self._bury(pipe)
            return work.name, Outcome(error=f"its process died (exit code {code}); run the grid again")
        if outcome is None:
            raise KeyboardInterrupt
        return work.name, outcome

    def _bury(self, pipe: Connection) -> int | None:
        """Forget a process that died; its exit code."""
        process = next(p for p, other in self.members if other is pipe)
        self.members = [member for member in self.members if member[1] is not pipe]
        pipe.close()
        process.join()
        return int(process.exitcode) if process.exitcode is not None else None

    def close(self) -> None:
        """Ask all to stop, and wait until those that train have saved their state."""
        for process, pipe in self.members:
            if pipe in self.busy:
                process.terminate()
            else:
                pipe.close()
        for process, _ in self.members:
            process.join()

    def start(self) -> Connection:
        """Start one process and return this side's end of its pipe."""
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.threads), daemon=True)
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, str(self.threads)))
        process.start()
        theirs.close()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        self.members.append((process, ours))
        return ours


def _serve(pipe: Connection, threads: int) -> None:
    """A worker process: tasks in, outcomes out, None once it was asked to stop."""
    from limbeck.training.fit import Interrupted

    with terminate_as_interrupt(), contextlib.suppress(KeyboardInterrupt, EOFError, OSError):
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
    """Have this process stop, as by SIGTERM, when the one that started it dies: no run trains on unseen."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])  # a pipe that the system closes with the parent, however it ends
        if hasattr(signal, "pthread_kill"):  # to the main thread, so that it leaves a blocking call
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does; training handles both itself while it runs."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def crew(jobs: int) -> Iterator[Executor]:
    """This process for one job, else so many processes; all are stopped at the end."""
    if jobs == 1:
        yield InProcess()
        return
    side = Side(jobs)
    try:
        yield side
    finally:
        side.close()
