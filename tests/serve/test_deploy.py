"""The files under deploy/: linted, safe by what they say, and with options that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from limbeck.cli.app import app

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNIT = (DEPLOY / "limbeck.service").read_text()
NGINX = (DEPLOY / "nginx.conf").read_text()


def tool(name: str) -> str:
    """A program on the path or beside the interpreter; the test is skipped without it."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def checked(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_hadolint_has_nothing_to_say() -> None:
    assert checked(tool("hadolint"), DEPLOY / "Dockerfile") == ""


def test_the_image_runs_as_a_user_without_rights() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM") :]
    user = re.search(r"^USER (\d+):(\d+)$", last, re.M)
    assert user is not None and int(user[1]) > 0 and int(user[2]) > 0
    assert last.index("USER") < last.index("ENTRYPOINT") and "HEALTHCHECK" in last
    assert "COPY . " not in DOCKERFILE
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = {word for line in re.findall(r"^COPY ([^-].*)$", DOCKERFILE, re.M) for word in line.split()[:-1]}
    assert ignored[0] == "*" and {f"!{name}" for name in copied} <= set(ignored)


def test_the_container_can_write_nowhere_but_tmp() -> None:
    service = COMPOSE["services"]["limbeck"]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(volume["read_only"] for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["mem_limit"] and service["pids_limit"]
    assert service["build"]["dockerfile"] == "deploy/Dockerfile"
    assert "/run/secrets/api_key" in service["command"] and COMPOSE["secrets"].keys() == {"api_key"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["docker-compose", "docker"])
def test_compose_reads_the_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [tool(name)] if name == "docker-compose" else [tool(name), "compose"]
    if subprocess.run([*command, "version"], capture_output=True).returncode:
        pytest.skip(f"{' '.join(command)} is not installed")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "deploy" / "api_key.txt").write_text("0" * 16)
    monkeypatch.setenv("INDEX", "/srv/photos.index")
    monkeypatch.setenv("PICTURES", "/srv/photos")
    shown = checked(*command, "-f", tmp_path / "deploy" / "compose.yaml", "config")
    assert "/srv/photos.index" in shown


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    unit = tmp_path / "limbeck.service"
    unit.write_text(UNIT.replace("/opt/limbeck/bin/limbeck", "/bin/true"))
    assert checked(analyze, "verify", unit) == ""
    exposure = checked(analyze, "security", "--offline=true", "--threshold=20", unit)
    assert "OK" in exposure.splitlines()[-1]


def test_every_option_exists() -> None:
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {name for option in serve.params for name in (*option.opts, *option.secondary_opts)}
    entry = re.search(r"ENTRYPOINT (\[.*\])", DOCKERFILE)
    start = re.search(r"^ExecStart=(.*)$", UNIT, re.M)
    behind = re.search(r"^# (limbeck serve .*)$", NGINX, re.M)
    assert entry and start and behind
    commands = (entry[1], start[1], behind[1], " ".join(COMPOSE["services"]["limbeck"]["command"]))
    for command in commands:
        used = set(re.findall(r"--[a-z][a-z-]*", command))
        assert used and used <= known, used - known


def test_stopping_waits_for_the_drain() -> None:
    from limbeck.serve.settings import Settings

    drain = Settings().drain_seconds
    waits = (COMPOSE["services"]["limbeck"]["stop_grace_period"], re.search(r"TimeoutStopSec=(\d+)", UNIT)[1])  # type: ignore[index]
    assert all(int(wait.rstrip("s")) > drain for wait in waits)
