"""Systems that lack something: what they can do works, and what they cannot is said once."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from limbeck.files import atomic_dir, durability, fsync_path, publish_new, write_atomic

REFUSALS = [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF]


@pytest.fixture(autouse=True)
def _untold(monkeypatch):
    monkeypatch.setattr(durability, "TOLD", set())


def without_directory_sync(monkeypatch, number):
    real = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells directories by /proc")
@pytest.mark.parametrize("number", REFUSALS)
def test_directories_that_cannot_be_synced(tmp_path, monkeypatch, capsys, number):
    without_directory_sync(monkeypatch, number)
    write_atomic(tmp_path / "a", "one")
    with atomic_dir(tmp_path / "d") as aside:
        (aside / "x").write_text("two")
    assert (tmp_path / "a").read_text() == "one" and (tmp_path / "d/x").read_text() == "two"
    err = capsys.readouterr().err
    assert err.count("cannot sync directories") == 1 and "missing after a power cut" in err


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells directories by /proc")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_no_such_system(tmp_path, monkeypatch, number):
    without_directory_sync(monkeypatch, number)
    with pytest.raises(OSError, match=os.strerror(number)):
        fsync_path(tmp_path)


def test_windows_opens_no_directory_and_syncs_files_it_may_write(tmp_path, monkeypatch):
    (tmp_path / "f").write_text("x")
    opened = []

    def refuse(path, flags, *rest):
        opened.append((Path(path).name, flags & os.O_ACCMODE))
        if Path(path).is_dir() or not flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest)

    real = os.open
    monkeypatch.setattr(durability, "WINDOWS", True)
    monkeypatch.setattr(os, "open", refuse)
    fsync_path(tmp_path)
    fsync_path(tmp_path / "f")
    assert opened == [("f", os.O_RDWR)]


def without_links(monkeypatch, number=errno.EPERM):
    def link(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
@pytest.mark.parametrize("renames", [True, False], ids=["rename refuses", "lock alone"])
def test_a_name_is_given_without_hard_links(tmp_path, monkeypatch, capsys, number, renames):
    without_links(monkeypatch, number)
    if not renames:
        monkeypatch.setattr(durability, "renamer", lambda: None)
    (tmp_path / "aside").write_text("new")
    publish_new(tmp_path / "aside", tmp_path / "target")
    assert [f.name for f in tmp_path.iterdir()] == ["target"]
    (tmp_path / "aside").write_text("newer")
    with pytest.raises(FileExistsError):
        publish_new(tmp_path / "aside", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "new"
    assert ("has no hard links; only the lock" in capsys.readouterr().err) == (not renames)


def test_a_failing_link_is_an_error(tmp_path, monkeypatch):
    without_links(monkeypatch, errno.EIO)
    (tmp_path / "aside").write_text("new")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        publish_new(tmp_path / "aside", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_directory_is_replaced_without_the_system_call(tmp_path, monkeypatch):
    from test_replace import KIND, make

    monkeypatch.setattr(durability, "renamer", lambda: None)
    make(tmp_path / "b", "old")
    make(tmp_path / "b", "new", replaces=KIND)
    assert (tmp_path / "b/data/a.txt").read_text() == "new" and len(list(tmp_path.iterdir())) == 1
