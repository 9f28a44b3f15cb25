"""Processes of a grid that die, and one whose parent dies."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from limbeck.grid.work import Outcome, Work
from limbeck.grid.workers import ProcessPool

WORK = Work("row-s0", "row", Path("nowhere"), {}, "row")


class Gone:
    """A process that was killed."""

    exitcode = -9

    def join(self) -> None:
        pass


def pool_of(*ends: str) -> ProcessPool:
    """Processes that die in some ways: before they read their task, or half way through an answer."""
    pool, left = ProcessPool(1), list(ends)

    def start() -> Connection:
        ours, theirs = multiprocessing.Pipe()
        process: Any = Gone()
        pool.members.append((process, ours))
        how = left.pop(0)
        if how == "answers":
            theirs.send(Outcome("fine"))
            open_ends.append(theirs)
        elif how == "dies with its task unread":
            send = ours.send

            def and_dies(work: Work) -> None:
                send(work)
                theirs.close()

            ours.send = and_dies  # type: ignore[method-assign]
        elif how == "dies in its answer":
            os.write(theirs.fileno(), b"\x00\x00\x10\x00half")
            theirs.close()
        else:
            theirs.close()
        return ours

    open_ends: list[Connection] = []
    pool.start = start  # type: ignore[method-assign]
    return pool


@pytest.mark.parametrize("how", ["dies before its task", "dies with its task unread", "dies in its answer"])
def test_a_process_that_dies_is_a_failed_task(how: str) -> None:
    pool = pool_of(how, "answers")
    pool.submit(WORK)
    assert pool.free == 0
    name, outcome = pool.next_outcome()
    assert name == "row-s0"
    assert outcome.error == "its process died (exit code -9); run the grid again"
    assert (pool.members, pool.busy, pool.free) == ([], {}, 1)
    pool.submit(WORK)
    assert pool.next_outcome()[1] == Outcome("fine")


def test_an_idle_process_that_died_is_replaced() -> None:
    pool = pool_of("dies before its task", "answers")
    pool.start()
    pool.submit(WORK)
    assert pool.next_outcome() == ("row-s0", Outcome("fine"))
    assert len(pool.members) == 1


@pytest.mark.slow  # both import torch
def test_a_process_stops_with_its_parent(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = Path(__file__).with_name("orphan_parent.py")
    parent = subprocess.Popen([sys.executable, str(script), str(mark)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    while not mark.with_suffix(".begun").exists():
        assert parent.poll() is None
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    for _ in range(1000):  # ten seconds; it takes some milliseconds
        if mark.with_suffix(".stopped").exists():
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        pytest.fail("it outlived its parent")
