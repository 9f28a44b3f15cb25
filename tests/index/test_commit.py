"""What a failure, a kill or a second writer leaves behind."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import textwrap

import pytest
from helpers_index import build, codes, items

from limbeck.errors import LimbeckError
from limbeck.index import manifest
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Hamming
from raising import raises_code

# Builds an index again and again in a child that kills itself at the n-th step that reaches the disk, and
# prints what a reader finds then: "none", "old" or "new". Steps: every fsync, before and after the link.
_KILL = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from helpers_index import build
from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore

root, real_sync, real_link = Path(sys.argv[1]), os.fsync, os.link

def attempt(path, steps, **options):
    child = os.fork()
    if child == 0:
        left = [steps]
        def step():
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        def sync(descriptor):
            step()
            real_sync(descriptor)
        def link(*names):
            step()
            real_link(*names)
            step()
        os.fsync, os.link = sync, link
        try:
            build(path, 20, **options)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for fresh in (True, False):
    for steps in range(1, 100):
        path = root / f"{fresh}-{steps}"
        if not fresh:
            build(path, 10)
        code = attempt(path, steps, replace=not fresh)
        try:
            store = IndexStore.open(path)
            store.verify()
            state = {10: "old", 20: "new"}[len(store)]
        except LimbeckError as error:
            state = "none" if "is not an index" in str(error) or "no such index" in str(error) else str(error)
        print(fresh, steps, code, state)
        assert len(build(path, 30, replace=True, lock_timeout=2)) == 30
        if code == 0:
            break
"""


def test_killed_at_any_step_leaves_the_old_state_or_the_new(tmp_path):
    here = os.path.dirname(__file__)  # noqa: PTH120
    done = subprocess.run(
        [sys.executable, "-c", _KILL, str(tmp_path), here],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    for fresh, before in (("True", "none"), ("False", "old")):
        states = [(code, state) for which, _, code, state in lines if which == fresh]
        assert len(states) > 8 and states[-1] == ("0", "new")
        assert {code for code, _ in states[:-1]} == {"-9"}
        # the old state up to the link, the new one from then on: never anything else, never back
        order = [state for _, state in states]
        turn = order.index("new")
        assert order == [before] * turn + ["new"] * (len(order) - turn)
        assert 0 < turn < len(order) - 1


def test_a_half_built_directory_is_refused_and_built_over(tmp_path):
    half = tmp_path / "i/segments" / ("dead" * 8)
    half.mkdir(parents=True)
    (half / "points.npy").write_bytes(b"half")
    (tmp_path / "i/writer.lock").touch()  # taken before anything is written
    with raises_code("E-INDEX-MISSING", "i:"):
        IndexStore.open(tmp_path / "i")
    assert len(build(tmp_path / "i")) == 50
    assert not (tmp_path / "i/segments/dead").exists()


@pytest.mark.parametrize("after", [0, 1, 3, 6])
@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_leaves_nothing_new(tmp_path, monkeypatch, after, replace):
    if replace:
        build(tmp_path / "i", 10)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LimbeckError, match=r"cannot write \(No space left on device\); free space"):
        build(tmp_path / "i", 20, replace=replace)
    assert len(calls) == after + 1  # a failed fsync is not tried again
    monkeypatch.undo()
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    if replace:
        assert len(IndexStore.open(tmp_path / "i")) == 10


def test_a_file_system_that_fails_after_the_link_takes_it_back(tmp_path, monkeypatch):
    def failing(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(manifest, "fsync_path", failing)
    with raises_code("E-PATH-WRITE", "i:"):
        build(tmp_path / "i", 20)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_in_mid_build_leaves_nothing(tmp_path):
    def batches():
        yield codes(5), items(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        IndexStore.build(tmp_path / "i", batches(), StoreMeta(Hamming(16)))
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_refused_and_told_who_holds_the_lock(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from limbeck.index.lock import writer_lock
        with writer_lock(Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.read()
        """
    )
    build(tmp_path / "i", 10)
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "i")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LimbeckError, match=re.escape(f"being written by process {holder.pid} on")):
            build(tmp_path / "i", 20, replace=True, lock_timeout=0.2)
        assert len(IndexStore.open(tmp_path / "i")) == 10  # a reader takes no lock
    finally:
        holder.kill()
        holder.wait()
    assert len(build(tmp_path / "i", 20, replace=True, lock_timeout=5)) == 20
