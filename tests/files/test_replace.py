"""`atomic_dir`: only what limbeck wrote is replaced, and no moment is without a whole state."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.files import (
    Kind,
    atomic,
    atomic_dir,
    check_apart,
    check_new_directory,
    interrupted_replacement,
    read_json,
)
from limbeck.files import write_json as write
from limbeck.files.durability import exchange

KIND = Kind("box", r"box\.json|data/[a-z]+\.txt", "box.json", lambda value: value.get("format") == "box/1")


def tree(root: Path) -> dict[str, bytes | str | None]:
    """Everything below a directory: content of files, targets of links, None of directories."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        link = path.is_symlink()
        found[name] = str(path.readlink()) if link else path.read_bytes() if path.is_file() else None
    return found


def make(path: Path, text: str, **options: object) -> None:
    with atomic_dir(path, **options) as aside:  # type: ignore[arg-type]
        write(aside / "box.json", {"format": "box/1"})
        (aside / "data").mkdir()
        (aside / "data/a.txt").write_text(text)


def test_a_box_is_replaced_by_a_box(tmp_path):
    make(tmp_path / "b", "old")
    (tmp_path / "b/.DS_Store").write_text("")  # a desktop's
    make(tmp_path / "b", "new", replaces=KIND)
    assert tree(tmp_path / "b").keys() == {"box.json", "data", "data/a.txt"}
    assert (tmp_path / "b/data/a.txt").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("replaces", [None, KIND])
@pytest.mark.parametrize(
    "foreign",
    [
        {"photo.jpg": b"p"},  # no box at all
        {"box.json": b"{}"},
        {"box.json": b'{"format": "other/1"}'},
        {"box.json": b"["},
        {"box.json": b"[" * 100_000},
        {"box.json": b'{"format": "box/1"}', "notes.txt": b"mine"},
        {"box.json": b'{"format": "box/1"}', "data/photo.jpg": b"mine"},
        {"box.json": b'{"format": "box/1"}', "data/deep/a.txt": b"mine"},
        {"box.json/a": b"mine"},
    ],
)
def test_what_limbeck_did_not_write_is_never_replaced(tmp_path, foreign, replaces):
    for name, content in foreign.items():
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(content)
    before = tree(tmp_path)
    with pytest.raises(LimbeckError, match=r"/d: "):
        make(tmp_path / "d", "new", replaces=replaces)
    assert tree(tmp_path) == before


def test_links_in_a_box_or_in_its_place_are_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/mine.txt").write_text("mine")
    make(tmp_path / "b", "old")
    (tmp_path / "b/data/x.txt").symlink_to(tmp_path / "outside/mine.txt")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    for name, why in (("b", "data/x.txt, which limbeck did not"), ("c", "a link"), ("dangling", "a link")):
        with pytest.raises(LimbeckError, match=why):
            make(tmp_path / name, "new", replaces=KIND)
    (tmp_path / "b/data/x.txt").unlink()
    (tmp_path / "b/data/more").symlink_to(tmp_path / "outside")
    with pytest.raises(LimbeckError, match="data/more, which limbeck did not write"):
        make(tmp_path / "b", "new", replaces=KIND)
    (tmp_path / "b/data/more").unlink()
    before.pop("b/data/x.txt")
    assert tree(tmp_path) == before


def test_what_comes_while_a_box_is_made_is_not_lost(tmp_path):
    make(tmp_path / "b", "old")
    with (
        pytest.raises(LimbeckError, match="contains mine"),
        atomic_dir(tmp_path / "b", replaces=KIND) as aside,
    ):
        write(aside / "box.json", {"format": "box/1"})
        (tmp_path / "b/mine").write_text("mine")
    assert (tmp_path / "b/mine").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(LimbeckError, match="already exists"), atomic_dir(tmp_path / "n") as aside:
        (tmp_path / "n").mkdir()
        (tmp_path / "n/mine").write_text("mine")
    assert tree(tmp_path / "n") == {"mine": b"mine"}


def test_the_current_directory_and_those_above_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")
    for name in (".", "..", "../..", "/", str(tmp_path / "a")):
        with pytest.raises(LimbeckError, match="contains the current directory"):
            make(Path(name), "new", replaces=KIND)
    with pytest.raises(LimbeckError, match="standard output accepts only files"):
        make(Path("-"), "new")
    with pytest.raises(LimbeckError, match="the name has 300 bytes"):
        make(tmp_path / ("x" * 300), "new")
    assert tree(tmp_path) == {"a": None, "a/b": None}


def test_the_longest_name_of_a_directory_can_be_replaced(tmp_path):
    name = "ü" * 127
    make(tmp_path / name, "old")
    make(tmp_path / name, "new", replaces=KIND)
    assert (tmp_path / name / "data/a.txt").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_a_source_is_not_written_over(tmp_path):
    (tmp_path / "src/deep").mkdir(parents=True)
    (tmp_path / "src/deep/a.txt").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "src")
    for out in (tmp_path / "src", tmp_path / "src/../src", tmp_path / "link"):
        with pytest.raises(LimbeckError, match="is the source"):
            check_apart(out, None, 3, "hub/id", tmp_path / "src")
    for source in (tmp_path / "src/deep", tmp_path / "src/deep/a.txt", str(tmp_path / "link/deep")):
        with pytest.raises(LimbeckError, match="contains the source"):
            check_apart(tmp_path / "src", source)
    check_apart(tmp_path / "src/deep", tmp_path / "src")  # inside is no harm
    check_apart(tmp_path / "new", tmp_path / "src")


def can_exchange(folder: Path) -> bool:
    (folder / "one").touch()
    (folder / "other").touch()
    found = exchange(folder / "one", folder / "other")
    (folder / "one").unlink()
    (folder / "other").unlink()
    return found


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchanges(request, tmp_path, monkeypatch):
    if request.param and not can_exchange(tmp_path):
        pytest.skip("this file system cannot exchange names")
    if not request.param:
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    return request.param


@pytest.mark.parametrize("fails", range(1, 5))
def test_a_failing_rename_or_sync_leaves_the_old_state(tmp_path, monkeypatch, exchanges, fails):
    """Each step of the publication fails in turn: the old box stands, nothing lies beside it."""
    make(tmp_path / "b", "old")
    steps = 1 if exchanges else 3
    calls, real = [], atomic.publish_directory

    def failing(function):
        def call(*given):
            calls.append(function)
            if len(calls) == fails:
                raise OSError(errno.EIO, "disk")
            return function(*given)

        return call

    def publish(aside, path):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", failing(Path.rename))
            patch.setattr(atomic, "fsync_path", failing(atomic.fsync_path))
            return real(aside, path)

    monkeypatch.setattr(atomic, "publish_directory", publish)
    if fails <= steps:
        with pytest.raises(LimbeckError, match=r"cannot write \(disk\)"):
            make(tmp_path / "b", "new", replaces=KIND)
    else:
        make(tmp_path / "b", "new", replaces=KIND)
    assert (tmp_path / "b/data/a.txt").read_text() == ("old" if fails <= steps else "new")
    assert [f.name for f in tmp_path.iterdir()] == ["b"]


def killed_at(step: int, place: Path) -> int:
    """Replace a box in a process that dies at a step, as by SIGKILL: nothing more of it runs. Its status."""
    child = os.fork()
    if not child:
        count = 0

        def at() -> None:
            nonlocal count
            count += 1
            if count == step:
                os._exit(9)

        def dying(function):
            def call(*given):
                at()
                found = function(*given)
                at()
                return found

            return call

        Path.rename = dying(Path.rename)  # type: ignore[method-assign]
        atomic.exchange = dying(atomic.exchange)
        atomic.remove_tree = dying(atomic.remove_tree)
        make(place, "new", replaces=KIND)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_any_step_one_state_stands_or_both_are_named(tmp_path, exchanges):
    states = []
    for step in range(1, 20):
        root = tmp_path / str(step)
        make(root / "b", "old")
        status = killed_at(step, root / "b")
        if (root / "b").exists():
            states.append((root / "b/data/a.txt").read_text())
            assert interrupted_replacement(root / "b") is None
            check_new_directory(root / "b", KIND)  # the next command goes on
        else:
            states.append("between")
            said = interrupted_replacement(root / "b")
            old, new = sorted(root.glob(".b.*.old")), sorted(root.glob(".b.*.tmp"))
            assert said is not None and str(old[0]) in said and str(new[0]) in said
            assert (old[0] / "data/a.txt").read_text() == "old"
            assert (new[0] / "data/a.txt").read_text() == "new"
            for attempt in (
                lambda at=root: read_json(at / "b/box.json"),
                lambda at=root: make(at / "b", "x"),
            ):
                with pytest.raises(LimbeckError, match="its replacement was interrupted"):
                    attempt()
            old[0].rename(root / "b")  # as it says
            make(root / "b", "newer", replaces=KIND)
            assert (root / "b/data/a.txt").read_text() == "newer"
        if status == 0:
            break
    assert status == 0 and states[0] == "old" and states[-1] == "new"
    assert ("between" in states) == (not exchanges)
