"""What stands for a file: pipes and devices are written into, never replaced; - is standard output."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.files import atomic_file, check_new_directory, check_target, target_of, write_atomic, write_json
from limbeck.search import Index
from raising import raises_code

posix = pytest.mark.skipif(os.name == "nt", reason="FIFOs and devices")


def read_in_background(path: Path) -> tuple[threading.Thread, list[bytes]]:
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
    thread.start()
    return thread, found


@posix
def test_a_fifo_is_written_into_and_stays_one(tmp_path):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    thread, found = read_in_background(fifo)
    write_json(fifo, {"a": 1})
    thread.join(10)
    assert found == [b'{\n "a": 1\n}\n']
    assert stat.S_ISFIFO(fifo.lstat().st_mode) and [f.name for f in tmp_path.iterdir()] == ["pipe"]


@posix
def test_a_link_to_a_device_stays_a_link(tmp_path):
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    write_atomic(link, "x")
    assert link.is_symlink() and stat.S_ISCHR(link.stat().st_mode)
    assert target_of("/dev/null").kind == "stream"


@posix
def test_a_device_of_ones_own_is_not_replaced(tmp_path):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_bytes(b"")
    except OSError:
        pytest.skip("needs the right to make and open devices")
    write_atomic(device, "x")
    assert stat.S_ISCHR(device.lstat().st_mode)


def test_standard_output_by_its_short_name(capfdbinary):
    write_json(Path("-"), ["ü"])
    with atomic_file("-") as stream:
        stream.write(b"\xff")
    assert capfdbinary.readouterr().out == '[\n "ü"\n]\n'.encode() + b"\xff"
    assert not Path("-").exists()


@posix
def test_a_name_of_standard_output_is_standard_output(tmp_path, monkeypatch):
    """`limbeck … --json /dev/stdout > FILE`: the file stays, and what was printed before stays in it."""
    with (tmp_path / "out").open("w") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        (tmp_path / "link").symlink_to(tmp_path / "out")
        assert target_of(tmp_path / "link").kind == target_of(tmp_path / "out").kind == "stdout"
        print("table")
        write_atomic(tmp_path / "link", "json\n")
        print("more")
    assert (tmp_path / "out").read_text() == "table\njson\nmore\n" and (tmp_path / "link").is_symlink()


def test_an_output_without_bytes_takes_text(monkeypatch):
    monkeypatch.setattr(sys, "stdout", held := io.StringIO())
    write_json(Path("-"), {"a": "ü"})
    assert held.getvalue() == '{\n "a": "ü"\n}\n'


def test_a_directory_is_refused_and_untouched(tmp_path):
    (tmp_path / "d").mkdir()
    for path in (tmp_path / "d", tmp_path / "d" / "..", Path()):
        with pytest.raises(LimbeckError, match=r"cannot write \(it is a directory"):
            write_atomic(path, "x")
    assert not any((tmp_path / "d").iterdir())


@posix
def test_a_socket_is_refused(tmp_path, monkeypatch):
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with raises_code("E-PATH-KIND", "s:"):
            write_atomic("s", "x")
        assert stat.S_ISSOCK(Path("s").lstat().st_mode)


@pytest.mark.parametrize("name", ["x" * 256, "ü" * 128, "d/" + "x" * 300 + "/y"])
def test_a_name_too_long_is_said_with_its_bytes(tmp_path, name):
    size = max(len(part.encode()) for part in name.split("/"))
    with raises_code("E-PATH-NAME", size, "255"):
        write_atomic(tmp_path / name, "x")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, ".tmp"])
def test_the_longest_name_can_be_written(tmp_path, name):
    write_atomic(tmp_path / name, "x")
    assert [f.name for f in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "x"


def test_a_name_with_nul_is_refused(tmp_path):
    with pytest.raises(LimbeckError, match="NUL"):
        write_atomic(tmp_path / "a\0b", "x")


def test_a_directory_has_a_name_that_arrow_takes(tmp_path):
    odd, points, items = tmp_path / os.fsdecode(b"x\xff"), np.zeros((1, 2), np.uint8), {"id": ["a"]}
    for write in (lambda: check_new_directory(odd), lambda: Index.build(odd, points, items=items)):
        with raises_code("E-PATH-NAME", "UTF-8"):
            write()
    with raises_code("E-PATH-STDOUT", "-:"):
        Index.build("-", points, items=items)
    assert not any(tmp_path.iterdir()) and not os.path.lexists("-")


def test_a_bad_place_is_told_before_any_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with raises_code("E-PATH-KIND", "out.json:"):
        check_target(tmp_path / "file" / "deep" / "out.json")
    assert check_target(tmp_path / "new" / "deep" / "out.json").kind == "file"
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "x") as stream:
        stream.write(b"new")
        raise ZeroDivisionError
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_link_to_a_file_is_replaced_and_its_file_is_not(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "mine")
    write_atomic(tmp_path / "out", "new")
    assert (tmp_path / "mine").read_text() == "mine" and (tmp_path / "out").read_text() == "new"
