"""What search needs runs where a system lacks POSIX: read in the source, and tried without its calls."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from limbeck.files import targets

SOURCE = Path(__file__).resolve().parents[2] / "src/limbeck"
TEXTS = {str(file.relative_to(SOURCE)): file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py")}
MISSING = [
    "register_at_fork",
    "sched_getaffinity",
    "fork",
    "getuid",
    "geteuid",
    "mkfifo",
    "pread",
    "sysconf",
    "statvfs",
]
MODULES = ["fcntl", "pwd", "grp", "resource", "termios", "posix_ipc"]
WITHOUT = """
import importlib.abc, os, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {modules!r}:
            raise ModuleNotFoundError(name=name)
for name in {modules!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refuse())
for name in {missing!r}:
    if hasattr(os, name):
        delattr(os, name)
from limbeck.cli.app import app
for words in (
    ["index", "build", "--codes", "codes.npy", "--ids", "ids.txt", "--out", "index"],
    ["index", "remove", "index", "b"],
    ["search", "index", "--codes", "codes.npy", "-k", "1"],
    ["search", "index", "--like", "c", "-k", "1"],
):
    app(words, standalone_mode=False)
"""


def test_calls_that_windows_lacks_are_asked_for_before() -> None:
    for name, text in TEXTS.items():
        for call in MISSING:
            if f"os.{call}(" in text:
                assert re.search(rf"(hasattr|getattr)\(os, \"{call}\"", text), f"{name}: os.{call}"
        for module in re.findall(rf"^( *)import ({'|'.join(MODULES)})$", text, re.MULTILINE):
            assert module[0] and f"try:\n{module[0]}import {module[1]}" in text, f"{name}: {module[1]}"


def test_text_has_the_same_line_ends_everywhere() -> None:
    for name, text in TEXTS.items():
        for call in re.findall(r"(?:\.write_text\(.*|\.open\(\"[wxa]\".*)", text):
            assert 'newline="\\n"' in call or "/proc" in text.split(call)[0].splitlines()[-1], (
                f"{name}: {call}"
            )


def test_codes_are_indexed_and_searched_without_posix(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.arange(24, dtype=np.uint8).reshape(3, 8))
    (tmp_path / "ids.txt").write_text("a\nb\nc\n")
    code = WITHOUT.format(modules=MODULES, missing=MISSING)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "3 items" in done.stdout + done.stderr


def test_a_pipe_without_identity_is_not_taken_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "out.json"
    file.touch()
    status = file.stat()
    with monkeypatch.context() as patch:
        patch.setattr(targets.os, "fstat", lambda _: status)
        sent = targets.target_of(file).kind  # a shell has sent standard output there
    nothing = type("Status", (), {"st_ino": 0, "st_dev": 0})()
    with monkeypatch.context() as patch:
        patch.setattr(targets.os, "fstat", lambda _: nothing)
        patch.setattr(targets.os.path, "samestat", lambda one, two: True)
        other = targets.target_of(file).kind
    assert (sent, other) == ("stdout", "file")


def test_windows_gets_a_port_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run = pytest.importorskip("limbeck.serve.run")
    import socket

    for windows in (False, True):
        monkeypatch.setattr(run, "WINDOWS", windows)
        with run._listen("127.0.0.1", 0, 16) as listener:
            assert bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is not windows
