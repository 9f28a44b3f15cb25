"""Readers and writers under attack: old generations, copies, permissions, locks, clocks, full disks."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from few import one_fast

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index import garbage
from limbeck.index.ann_index import write_derived
from limbeck.index.compact import compact_index
from limbeck.index.export import export_index
from limbeck.index.store import IndexStore, verify_index
from limbeck.search import SearchOptions

posix = pytest.mark.skipif(sys.platform == "win32", reason="forks and users")
ROWS = 200
CODES = np.random.default_rng(0).integers(0, 256, (ROWS, 8), dtype=np.uint8)


def items(start: int, stop: int) -> dict[str, list]:
    numbers = range(start, stop)
    return {"id": [f"i{i}" for i in numbers], "path": [f"{i}.jpg" for i in numbers], "n": list(numbers)}


def build(path: Path, rows: int = ROWS) -> limbeck.Index:
    return limbeck.Index.build(path, CODES[:rows], items=items(0, rows))


def answers(index: limbeck.Index) -> list:
    asked = CODES[:5] ^ 1
    return [
        index.search_many(asked, SearchOptions(6)),
        index.search_many(asked, SearchOptions(6, where="n > 50")),
        index.search(like="i33", k=4),
        index.item("i77"),
        [table.to_pylist() for _, table in index.store.live_batches()],
    ]


@pytest.mark.slow
def test_a_reader_keeps_its_generation_through_ten_commits(tmp_path, monkeypatch):
    """Files of its generation are removed from the disk meanwhile: nothing of it had been read before."""
    monkeypatch.setattr(garbage, "MIN_AGE_SECONDS", -1.0)
    true = answers(build(tmp_path / "i"))
    held, first = limbeck.Index.open(tmp_path / "i"), set((tmp_path / "i/segments").iterdir())
    rng = np.random.default_rng(1)
    for number in range(10):
        new = rng.integers(0, 256, (3, 8), dtype=np.uint8)
        index = limbeck.Index.open(tmp_path / "i").add(new, items=items(1000 + 3 * number, 1003 + 3 * number))
        index.remove([f"i{number}"])
        compact_index(tmp_path / "i")
    assert not first & set((tmp_path / "i/segments").iterdir())
    assert answers(held) == true
    assert len(limbeck.Index.open(tmp_path / "i")) == ROWS + 30 - 10


def in_child(work) -> str:
    """What a forked child returns as text; the name of its signal if it dies."""
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hear)
            os.write(say, str(work()).encode("utf-8", "replace"))
        except BaseException as error:
            os.write(say, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(say)
    with os.fdopen(hear, "rb") as stream:
        text = stream.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return text if status == 0 else signal.Signals(-status).name


@posix
@pytest.mark.slow
def test_copies_while_it_is_written_are_whole_or_refused(tmp_path):
    build(tmp_path / "i")
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            rng, number = np.random.default_rng(2), 0
            while True:
                new = rng.integers(0, 256, (4, 8), dtype=np.uint8)
                limbeck.Index.open(tmp_path / "i").add(
                    new, items=items(1000 + 4 * number, 1004 + 4 * number)
                ).remove([f"i{number % ROWS}"])
                number += 1
                if number % 5 == 0:
                    compact_index(tmp_path / "i")
        os._exit(1)
    whole = 0
    try:
        for number in range(25):
            copy = tmp_path / f"copy{number}"
            with contextlib.suppress(shutil.Error, FileNotFoundError):  # a file went while it was copied
                shutil.copytree(tmp_path / "i", copy)
            with contextlib.suppress(LimbeckError):
                verify_index(copy)
                ids = [row["id"] for _, t in IndexStore.open(copy).live_batches() for row in t.to_pylist()]
                assert len(ids) == len(set(ids)) >= 1
                whole += 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert whole


WRITES = {
    "add": lambda path: limbeck.Index.open(path).add(CODES[:1] ^ 1, items=items(900, 901)),
    "remove": lambda path: limbeck.Index.open(path).remove(["i3"]),
    "many removed": lambda path: limbeck.Index.open(path).remove([f"i{i}" for i in range(150)]),
    "engine": lambda path: write_derived(IndexStore.open(path), "ivf"),
    "replace": lambda path: limbeck.Index.build(path, CODES, items=items(0, ROWS), replace=True),
    "export npy": lambda path: export_index(path, path.parent / "out.npy"),
    "export parquet": lambda path: export_index(path, path.parent / "out.parquet"),
}


@posix
@pytest.mark.parametrize("verb", one_fast(WRITES))
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="another user is tried as root alone")
def test_another_user_may_search_and_not_write(tmp_path, verb):
    place = Path(tempfile.gettempdir()) / f"limbeck-other-{os.getpid()}-{random.randrange(10**9)}"
    try:
        place.mkdir(mode=0o755)
        build(place / "i")
        before = sorted(file.relative_to(place) for file in place.rglob("*"))
        # Load every module that the child needs: the other user may not be able to read this Python.
        shutil.copytree(place / "i", tmp_path / "i")
        limbeck.Index.open(tmp_path / "i").search(points=CODES[3:4], k=1)
        WRITES[verb](tmp_path / "i")

        def work() -> str:
            os.chdir("/")
            os.setgid(65534)
            os.setuid(65534)
            hits = limbeck.Index.open(place / "i").search(points=CODES[3:4], k=1)
            try:
                WRITES[verb](place / "i")
            except LimbeckError as error:
                return f"{hits[0].id} {error}"
            return "written"

        said = in_child(work)
        assert said.startswith("i3 ") and "Permission denied" in said and "\n" not in said, said
        assert sorted(file.relative_to(place) for file in place.rglob("*")) == before
        for file in place.rglob("points.npy"):
            file.chmod(0)
        said = in_child(lambda: (os.setuid(65534), limbeck.Index.open(place / "i")))
        assert said.startswith("LimbeckError: ") and "points.npy" in said, said
    finally:
        shutil.rmtree(place, ignore_errors=True)


@posix
@pytest.mark.parametrize("verb", one_fast(WRITES))
def test_a_disk_that_is_full_changes_nothing(tmp_path, verb):
    """A limit of file size stands for it, an error of every write beyond it; empty folders may be left."""
    build(tmp_path / "i")
    true = answers(limbeck.Index.open(tmp_path / "i"))
    before = sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.suffix != ".lock")

    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
        WRITES[verb](tmp_path / "i")
        return "written"

    said = in_child(work)
    assert said.startswith("LimbeckError: ") and "cannot write" in said and "\n" not in said, said
    now = sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.suffix != ".lock")
    assert [file for file in now if file.name not in ("derived", "tombstones")] == before
    assert answers(limbeck.Index.open(tmp_path / "i")) == true
    WRITES[verb](tmp_path / "i")


@posix
def test_a_lock_file_that_is_deleted_under_a_writer_loses_no_commit(tmp_path):
    build(tmp_path / "i")

    def slow():
        yield CODES[:1] ^ 2, items(500, 501)
        (tmp_path / "i" / "writer.lock").unlink()
        said = in_child(lambda: limbeck.Index.open(tmp_path / "i").add(CODES[:1] ^ 4, items=items(600, 601)))
        assert "Index" in said, said
        yield CODES[:1] ^ 8, items(501, 502)

    from limbeck.index.add import add_batches
    from limbeck.index.writer import StoreMeta
    from limbeck.spaces import Hamming

    with pytest.raises(LimbeckError, match="another writer has published it; run the command again"):
        add_batches(tmp_path / "i", slow(), StoreMeta(Hamming(64)))
    index = limbeck.Index.open(tmp_path / "i")
    assert len(index) == ROWS + 1 and index.item("i600").id == "i600"
    verify_index(tmp_path / "i")
    index.add(CODES[:1] ^ 2, items=items(500, 501))


@pytest.mark.slow
def test_a_clock_that_runs_backwards(tmp_path, monkeypatch):
    build(tmp_path / "i")
    true = answers(limbeck.Index.open(tmp_path / "i"))
    real = time.time
    for shift in (-10 * 365 * 86400, 86400 * 400, -86400):
        monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
        monkeypatch.setattr(time, "time_ns", lambda shift=shift: int((real() + shift) * 1e9))
        limbeck.Index.open(tmp_path / "i").add(CODES[:1] ^ 2, items=items(500, 501)).remove(["i500"])
        compact_index(tmp_path / "i")
        assert answers(limbeck.Index.open(tmp_path / "i"))[-1] == true[-1]
    verify_index(tmp_path / "i")


@pytest.mark.parametrize(
    "name", one_fast(["a b  c", "é\u0301 фото 写真", "-k", "x" * 200, "'q\" $(x)", "a\u202fb"])
)
def test_names_of_folders(tmp_path, name, run):
    np.save(tmp_path / "c.npy", CODES)
    (tmp_path / "ids.txt").write_text("\n".join(items(0, ROWS)["id"]), encoding="utf-8")
    path = tmp_path / name / "ix"
    status, _, err = run(
        "index", "build", "--codes", tmp_path / "c.npy", "--ids", tmp_path / "ids.txt", "--out", path
    )
    assert status == 0, err
    status, out, err = run("search", path, "--like", "i7", "-k", 2)
    assert status == 0 and "i7" not in out.split()[:1], err
    assert run("index", "verify", path)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("length", [300, 6000, 70_000])
def test_paths_that_are_too_long_are_named_in_one_line(tmp_path, run, length):
    long = str(tmp_path / ("x" * length if length < 6000 else "/".join(["x" * 200] * (length // 200))))
    np.save(tmp_path / "c.npy", CODES)
    (tmp_path / "ids.txt").write_text("\n".join(items(0, ROWS)["id"]), encoding="utf-8")
    build(tmp_path / "i")
    for words in (
        ("index", "build", "--codes", tmp_path / "c.npy", "--ids", tmp_path / "ids.txt", "--out", long),
        ("index", "build", "--codes", long, "--ids", tmp_path / "ids.txt", "--out", tmp_path / "o"),
        ("index", "build", long, "--out", tmp_path / "o"),
        ("search", long, "--like", "i7"),
        ("search", tmp_path / "i", "--like", "i7", "--json", long),
        ("search", tmp_path / "i", "--codes", long),
        ("search", tmp_path / "i", "--queries", long + ".txt"),
        ("index", "export", tmp_path / "i", "--out", long + ".npy"),
        ("index", "info", long),
        ("encode", long, tmp_path, "--out", tmp_path / "o"),
        ("data", "import", "folder", long, tmp_path / "o"),
        ("train", long),
        ("grid", long),
        ("evaluate", long),
    ):
        status, _, err = run(*words)
        assert status in (1, 2) and "Traceback" not in err, words[:3]
        assert status == 2 or err.count("\n") == 1, (words[:3], err[-300:])
    assert not (tmp_path / "o").exists()
