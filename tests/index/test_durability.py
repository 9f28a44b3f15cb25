"""Kills at random moments, and disks that fail at every step of a change."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_index import build, codes, items

from limbeck.errors import LimbeckError
from limbeck.index import garbage
from limbeck.index.add import add_batches
from limbeck.index.compact import compact_index
from limbeck.index.lock import writer_lock
from limbeck.index.manifest import generations, manifest_path
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Hamming

META = StoreMeta(Hamming(16))
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/durability.py"


@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path, count):
    out = tmp_path / "found.json"
    words = [SCRIPT, "--interruptions", count, "--rows", 200, "--longest", 0.2, "--out", out]
    subprocess.run([sys.executable, *map(str, words)], check=True, timeout=600, stdout=subprocess.DEVNULL)
    found = json.loads(out.read_text())
    assert sum(entry["times"] for entry in found["killed"]) == count and found["claims"][0]["value"] == 0


CHANGES = {
    "add": lambda path: add_batches(path, [(codes(5), items(5, 50))], META),
    "replace": lambda path: add_batches(path, [(codes(5), items(5, 48))], META, replace=True),
    "remove": lambda path: remove_items(path, ["id-3"]),
    "remove many": lambda path: remove_items(path, [f"id-{i}" for i in range(30)]),
    "compact": compact_index,
}


def listing(path):
    return sorted(str(file) for file in path.rglob("*") if file.is_file())


@pytest.fixture
def index(tmp_path):
    """50 items and a tombstone, so that every change has something to do."""
    build(tmp_path / "i", 50)
    remove_items(tmp_path / "i", ["id-40"])
    return tmp_path / "i"


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_disk_that_fails_at_any_fsync_leaves_the_old_state(index, monkeypatch, change, for_good):
    before, real, old = listing(index), os.fsync, len(IndexStore.open(index))
    for step in range(1, 40):
        calls = []

        def sync(descriptor, step=step, calls=calls):
            calls.append(descriptor)
            if len(calls) == step or (for_good and len(calls) > step):
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", sync)
            try:
                CHANGES[change](index)
            except LimbeckError as error:
                assert "cannot write (No space left on device); free space" in str(error)
            else:
                break
        store = IndexStore.open(index)
        assert len(store) == old and store.manifest.generation == 2 and store.verify()
        if not for_good:
            assert listing(index) == before  # no half files
    assert step > 4 and IndexStore.open(index).manifest.generation == 3 and IndexStore.open(index).verify()


def test_what_may_be_found_after_a_power_cut_stays_until_it_is_old(index, monkeypatch):
    """The last fsync of the directory fails, and so does the one that would take the manifest back."""
    before, real, calls = listing(index), os.fsync, []

    def sync(descriptor):
        calls.append(descriptor)
        if len(generations(index)) == 3 or calls[-1] is None:
            calls[-1] = None
            raise OSError(errno.EIO, "Input/output error")
        if None in calls:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(LimbeckError, match="Input/output error"):
        remove_items(index, ["id-3"])
    monkeypatch.undo()
    left = set(listing(index)) - set(before)
    assert len(left) == 1 and "tombstones" in left.pop() and generations(index) == [1, 2]
    assert remove_items(index, ["id-4"]) == 1  # writes the same name anew
    monkeypatch.setattr(garbage, "MIN_AGE_SECONDS", -1.0)
    remove_items(index, ["id-5"])
    assert len(list((index / "tombstones").iterdir())) == 2 and IndexStore.open(index).verify()


_FULL = """
import os, resource, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_durability import CHANGES
from limbeck.errors import LimbeckError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in map(int, sys.argv[4:]):
    if os.fork() == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            CHANGES[sys.argv[3]](Path(sys.argv[1]))
        except LimbeckError as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("change", ["add", "remove many"])
def test_writes_that_fail_leave_the_old_state(index, change):
    """Files may not grow beyond some bytes: the system refuses the write itself, in Arrow's code too."""
    before, limits = listing(index), (64, 140, 200, 1000)
    words = [sys.executable, "-c", _FULL, index, Path(__file__).parent, change, *limits]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(limits) and all("cannot write" in line and "too large" in line for line in lines)
    assert listing(index) == before and IndexStore.open(index).manifest.generation == 2
    CHANGES[change](index)
    assert IndexStore.open(index).manifest.generation == 3 and IndexStore.open(index).verify()


def test_a_second_writer_is_refused_and_told_who_writes(index):
    before = listing(index)
    with writer_lock(index):
        for change in (
            lambda: remove_items(index, ["id-1"], lock_timeout=0.1),
            lambda: add_batches(index, [(codes(5), items(5, 50))], META, lock_timeout=0.1),
            lambda: compact_index(index, lock_timeout=0.1),
        ):
            with pytest.raises(LimbeckError, match=r"being written by process \d+ on .* since"):
                change()
    assert listing(index) == before


def test_a_second_writer_waits_for_its_turn(index):
    script = (
        "import sys; from limbeck.index.remove import remove_items; remove_items(sys.argv[1], [sys.argv[2]])"
    )
    with writer_lock(index):
        others = [subprocess.Popen([sys.executable, "-c", script, str(index), f"id-{i}"]) for i in (1, 2)]
    remove_items(index, ["id-3"])
    assert [other.wait(timeout=120) for other in others] == [0, 0]
    store = IndexStore.open(index)
    assert len(store) == 46 and store.manifest.generation == 5
    assert store.rows_of(["id-1", "id-2", "id-3"]).tolist() == [-1, -1, -1]


def test_no_change_to_an_index_of_a_newer_format(index):
    path = manifest_path(index, 2)
    value = json.loads(path.read_text()) | {"format": 9, "min_reader": 9}
    path.write_text(json.dumps(value))
    before = listing(index)
    for change in CHANGES.values():
        with pytest.raises(LimbeckError, match="format 9 needs reader 9, this limbeck has 2"):
            change(index)
    assert listing(index) == before
