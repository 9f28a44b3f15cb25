"""A place that cannot be written to: one line that names it, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir, read_json, write_atomic
from raising import raises_code


def test_a_directory_below_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / "deep" / "out"
    with (
        raises_code("E-PATH-WRITE", "out:") as found,
        atomic_dir(out),
    ):
        raise AssertionError("nothing can be built there")
    assert "\n" not in str(found.value)
    with raises_code("E-PATH-WRITE", "out:"):
        write_atomic(out, "x")
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_a_directory_that_cannot_be_made_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *given: object, **named: object) -> None:
        if path.name.endswith(".tmp"):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        raises_code("E-PATH-WRITE", "out:"),
        atomic_dir(tmp_path / "out"),
    ):
        raise AssertionError("nothing can be built there")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b"9" * 5000, "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"{", "not valid JSON"),
    ],
)
def test_json_that_no_parser_takes(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with raises_code("E-JSON-SYNTAX", "a.json", message) as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_json_is_read_from_regular_files_alone(tmp_path):
    for place, message in (
        (tmp_path, "a folder"),
        ("/dev/zero", "a device"),
        (tmp_path / "a" / "b", "no such"),
    ):
        with pytest.raises(LimbeckError, match=message):
            read_json(place)
