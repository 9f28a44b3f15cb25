"""Cases run in forked children with a limit of memory and time: imports are paid once, a crash ends one child."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

# from best to worst
CLASSES = ("right", "refused", "exception", "memory", "time", "crash", "wrong")
FAULTS = CLASSES[2:]


class Wrong(Exception):
    """An answer that is not the true one, without a word."""


@dataclass(frozen=True)
class Outcome:
    """What a case came to: one of `CLASSES`, and the message or traceback."""

    case: int
    kind: str
    message: str = ""


def classified(ask: Callable[[], Any]) -> tuple[str, str]:
    """Run one question: its class and its message."""
    try:
        ask()
    except LimbeckError as error:
        text = str(error)
        return ("refused", text) if "\n" not in text else ("exception", f"more than one line: {text}")
    except Wrong as error:
        return "wrong", str(error)
    except MemoryError as error:
        return "memory", repr(error)
    except BaseException as error:
        if type(error).__name__ == "ArrowMemoryError":
            return "memory", repr(error)[:300]
        import traceback

        return "exception", "".join(traceback.format_exception(error)[-3:])[-900:]
    return "right", ""


def worst(found: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The worst of several."""
    return max(found, key=lambda one: CLASSES.index(one[0])) if found else ("right", "")


def run_cases(
    count: int,
    run: Callable[[int], tuple[str, str]],
    *,
    seconds: float = 20.0,
    memory: int = 1 << 30,
    log: Path | None = None,
) -> Iterator[Outcome]:
    """Cases 0 … count − 1 in order; ``run`` gives class and message, and is called in a child.

    Args:
        count: of cases.
        run: prepares and asks one case; it must not rely on what earlier ones left behind.
        seconds: for each.
        memory: bytes of address space that a child may take beyond what it has at the fork.
        log: file for the children's standard error.
    """
    following = 0
    while following < count:
        for outcome in _child(following, count, run, seconds, memory, log):
            yield outcome
            following = outcome.case + 1


def _child(
    first: int,
    count: int,
    run: Callable[[int], tuple[str, str]],
    seconds: float,
    memory: int,
    log: Path | None,
) -> Iterator[Outcome]:
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hear)
            _confine(memory, log)
            for case in range(first, count):
                kind, message = run(case)
                os.write(say, (json.dumps([case, kind, message[-1000:]]) + "\n").encode())
        finally:
            os._exit(0)
    os.close(say)
    rest, at = b"", first
    with os.fdopen(hear, "rb", buffering=0) as stream:
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                yield Outcome(at, "time", f"longer than {seconds:g} s")
                return
            piece = stream.read(1 << 16)
            if not piece:
                break
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                at, kind, message = json.loads(line)
                yield Outcome(at, kind, message)
                at, deadline = at + 1, time.monotonic() + seconds
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if at < count:
        said = log.read_text(errors="replace")[-900:] if log and log.is_file() else ""
        yield Outcome(at, "crash", f"the process ended with {status}: {said}")


def _confine(memory: int, log: Path | None) -> None:
    """Limits of a child; what C++ says goes to the log."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, 2)
        os.dup2(target, 1)
    faulthandler.enable()
