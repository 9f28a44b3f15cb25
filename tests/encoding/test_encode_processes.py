"""Encoding by several processes: the set of one process, in its order, and a resume after a failure."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from limbeck.cli.app import app
from limbeck.encoding import encode_source, open_source, processes
from limbeck.encoding.processes import asked_share, encode_shares, parse_share, share_rows
from limbeck.index.encoded import Encoded, read_skipped
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures

N = 10


@pytest.fixture(scope="module")
def encoder() -> Any:
    return pixel_encoder()


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processes, "BLOCK", 2)
    write_pictures(tmp_path / "photos", range(N))
    (tmp_path / "photos" / "0007.png").write_bytes(b"no picture")
    return tmp_path / "photos"


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_shares_are_the_rows_in_order(shares: int) -> None:
    for count in (0, 1, 1024, 1025, 7000):
        rows = np.arange(count) * 3
        parts = [share_rows(rows, at, shares) for at in range(1, shares + 1)]
        assert np.array_equal(np.concatenate(parts), rows)
        assert all(len(part) % 1024 == 0 for part in parts[:-1])


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "a/b", "1/2/3", "-1/2"])
def test_a_share_has_a_form(text: str) -> None:
    assert parse_share("2/8") == (2, 8)
    with raises_code("E-OPTION-FORM", "--share"):
        parse_share(text)


def test_an_empty_share_says_how_many_there_can_be() -> None:
    assert len(asked_share(np.arange(1500), "1/2")) == 1024
    with raises_code("E-ENCODE-EMPTY", "--share 1/3", "1,500 items", "at most 2 shares"):
        asked_share(np.arange(1500), "1/3")


class Inside:
    """Does the work of a process in this one; ``fails`` are shares that end with an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, encoder: Any) -> None:
        self.encoder, self.fails, self.ran = encoder, set[int](), list[int]()
        monkeypatch.setattr(processes, "_start", self.start)

    def start(
        self, arguments: Sequence[str], place: Path, share: int, shares: int
    ) -> subprocess.Popen[bytes]:
        self.ran.append(share)
        if share in self.fails:
            place.with_suffix(".log").write_text("some progress\nlimbeck: the disk is full\n\n")
            return subprocess.Popen(["false"])
        source = open_source(arguments[1])
        rows = share_rows(np.arange(len(source)), share, shares)
        encode_source(self.encoder, source, place, rows=rows, model=arguments[0])
        return subprocess.Popen(["true"])


def test_processes_make_the_set_of_one(
    encoder: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = Inside(monkeypatch, encoder)
    source, arguments = open_source(photos), ["run", str(photos)]
    alone = encode_source(encoder, source, tmp_path / "alone", model="run")

    def encode(**more: Any) -> Encoded:
        return encode_shares(
            encoder, source, [*arguments, *more], tmp_path / "set", rows=None, processes=3, replace=False
        )

    inside.fails = {2}
    with raises_code("E-ENCODE-UNFINISHED", "1 of 3", "the disk is full", "set.shares"):
        encode()
    assert not (tmp_path / "set").exists()
    with raises_code("E-ENCODE-UNFINISHED", "other input"):
        encode(x=1)
    inside.fails, inside.ran = set(), []
    found = encode()
    assert inside.ran == [2]
    assert np.array_equal(found.points, alone.points)
    assert found.items().equals(alone.items())
    assert read_skipped(found.path) == read_skipped(alone.path) != []
    assert not (tmp_path / "set.shares").exists()
    with raises_code("E-PATH-EXISTS", "set"):
        encode()


def test_a_foreign_folder_is_left_alone(encoder: Any, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "set.shares").mkdir()
    (tmp_path / "set.shares" / "mine.txt").write_text("mine")
    with raises_code("E-ENCODE-UNFINISHED", "set.shares"):
        encode_shares(
            encoder, open_source(photos), ["run", str(photos)], tmp_path / "set", rows=None, processes=2
        )
    assert (tmp_path / "set.shares" / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_command_runs_real_processes(tmp_path: Path) -> None:
    pixel_encoder().save(tmp_path / "model")
    write_pictures(tmp_path / "photos", range(1100))
    arguments = ["encode", str(tmp_path / "model"), str(tmp_path / "photos"), "--out"]
    for more in ([str(tmp_path / "alone")], [str(tmp_path / "set"), "--processes", "3"]):
        result = CliRunner().invoke(app, [*arguments, *more])
        assert result.exit_code == 0, result.output
    alone, found = (Encoded.open(tmp_path / name) for name in ("alone", "set"))
    assert len(found) == 1100
    assert np.array_equal(found.points, alone.points)
