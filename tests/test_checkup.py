"""``limbeck doctor`` without a run: each check on a machine that is well and on one that is not."""

from __future__ import annotations

import collections
import importlib.metadata
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from limbeck import checkup
from limbeck.checkup import Check, Checkup
from limbeck.cli.app import app

Usage = collections.namedtuple("Usage", "total used free")


def states(checks: Any) -> dict[str, str]:
    return {check.name: check.state for check in checks}


@pytest.fixture
def no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_fork", lambda: Check("fork", "ok", "not asked"))


def test_the_command_checks_the_machine(
    no_fork: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "not/yet/there"))
    file = tmp_path / "d.json"
    result = CliRunner().invoke(app, ["doctor", "--json", str(file)])
    assert result.exit_code == 0
    stored = json.loads(file.read_text())
    assert stored["format"] == "limbeck.checkup/1"
    names = {check["name"] for check in stored["checks"]}
    assert {"versions", "extras", "processor", "torch", "threads", "fork", "memory", "disk"} <= names
    assert result.stdout.splitlines()[-1] in ("nothing looks wrong",) or "to correct" in result.stdout
    assert not (tmp_path / "not").exists()


def test_a_fault_is_in_the_verdict_and_has_a_remedy() -> None:
    lines = Checkup((Check("a", "ok", "x"), Check("bb", "fault", "y", "do z"))).lines()
    assert lines == ["ok     a   x", "fault  bb  y; do z", "to correct: bb"]
    assert Checkup((Check("a", "note", "x"),)).lines()[-1] == "nothing looks wrong"


def test_packages_below_their_bound_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"torch": "2.5.1+cpu", "numpy": "2.4.0", "pillow": "11.0rc1"}

    def version(name: str) -> str:
        if name not in have:
            raise importlib.metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    wanted = ['torch>=2.6; extra == "train"', "numpy>=2.0", "pillow>=11", "absent>=1", "limbeck[text]", "x"]
    assert list(checkup._too_old(wanted)) == [("torch", "2.6", "2.5.1+cpu")]


def test_a_full_disk_and_a_directory_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda place: Usage(10**12, 0, 10**9))
    assert states(checkup._disk())["disk"] == "note"
    monkeypatch.setattr(checkup.os, "access", lambda place, how: False)
    assert [check.state for check in checkup._disk()][:3] == ["fault"] * 3


def test_little_shared_memory_and_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda place: Usage(64 * 2**20, 0, 0))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 256))
    found = states(checkup._memory())
    assert found.get("shared memory", "note") == found["open files"] == "note"


def test_threads_above_the_cores_of_a_container(no_fork: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_quota", lambda: 0.5)
    threads = next(check for check in checkup._torch() if check.name == "threads")
    assert threads.state == "note" and "the container allows 0.5" in threads.seen


def test_a_base_install_says_that_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "installed", lambda package: package != "torch")
    assert [(c.name, c.state) for c in checkup._torch()] == [("torch", "note")]


def test_a_processor_without_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "processor_flags", lambda: {"sse2"})
    assert checkup._processor().state == "note"
    monkeypatch.setattr(checkup, "processor_flags", lambda: {"sse2", "avx2", "amx_bf16"})
    assert "avx2, amx_bf16" in checkup._processor().seen


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_that_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_FORK", "print('safe')")
    assert checkup._fork().state == "ok"
    monkeypatch.setattr(checkup, "_FORK", "print('hangs')")
    assert checkup._fork().state == "fault"

    def hang(*given: Any, **more: Any) -> Any:
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(subprocess, "run", hang)
    assert checkup._fork().state == "note"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_this_machine_forks() -> None:
    assert checkup._fork().state == "ok"
