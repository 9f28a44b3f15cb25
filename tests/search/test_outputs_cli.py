"""Files that verbs write, as a user names them: standard output, pipes, odd columns, other consoles."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import os
import stat
import sys
import threading
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Hamming

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J.jpg"
ROW = {
    "id": "a",
    "day": dt.date(2024, 2, 29),
    "moment": dt.datetime(2024, 2, 29, 12, 30),
    "price": Decimal("1.10"),
    "blob": b"\x00\xff",
    "wide": math.inf,
    "unknown": math.nan,
    "labels": ["cat", "猫"],
}
PLAIN = {
    "day": "2024-02-29",
    "moment": "2024-02-29T12:30:00",
    "price": "1.10",
    "blob": "AP8=",
    "wide": None,
    "unknown": None,
    "labels": ["cat", "猫"],
}


def strict(text: str):
    def refuse(name: str):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def index(tmp_path):
    table = pa.Table.from_pylist([ROW, {"id": "Привет"}, {"id": EVIL, "labels": [EVIL]}])
    points = np.arange(3, dtype=np.uint8)[:, None]
    IndexStore.build(tmp_path / "i", [(points, table)], StoreMeta(Hamming(8)))
    np.save(tmp_path / "q.npy", points[:1])
    return tmp_path / "i"


def ask(index, *more):
    return ("search", index, "--codes", index.parent / "q.npy", *more)


def test_every_column_has_a_form_in_a_file_and_on_standard_output(run, index, tmp_path):
    assert run(*ask(index, "--json", tmp_path / "x.json"))[0] == 0
    found = strict((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert found["results"][0]["hits"][0] == {"rank": 1, "id": "a", "score": 0, "metadata": PLAIN}
    status, out, err = run(*ask(index, "--json", "-"))
    assert status == 0 and strict(out) == found and "rank" in err and not list(tmp_path.glob("-"))


def test_queries_give_strict_lines(run, index, tmp_path):
    (tmp_path / "q.jsonl").write_text(json.dumps({"like": "Привет"}) + "\n")
    for where in ([], ["--json", "-"], ["--json", tmp_path / "x.jsonl"]):
        status, out, _ = run("search", index, "--queries", tmp_path / "q.jsonl", *where)
        lines = (out or (tmp_path / "x.jsonl").read_text(encoding="utf-8")).splitlines()
        hits = {hit["id"]: hit["metadata"] for hit in strict(lines[0])["hits"]}
        assert status == 0 and len(lines) == 1 and hits["a"] == PLAIN


def test_queries_need_no_standard_output_of_bytes(index, monkeypatch, tmp_path):
    """A stand-in for standard output, such as a notebook's, has no ``buffer``."""
    from limbeck.cli import main

    (tmp_path / "q.jsonl").write_text(json.dumps({"like": "Привет"}) + "\n")
    monkeypatch.setattr(sys, "stdout", held := io.StringIO())
    words = ("limbeck", "search", index, "--queries", tmp_path / "q.jsonl")
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    with pytest.raises(SystemExit) as end:
        main()
    hits = {hit["id"]: hit["metadata"] for hit in strict(held.getvalue())["hits"]}
    assert not end.value.code and hits["a"] == PLAIN


def test_a_pipe_is_written_into(run, index, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    assert run(*ask(index, "--json", tmp_path / "pipe"))[0] == 0
    reader.join(10)
    assert strict(found[0].decode())["results"][0]["hits"][0]["id"] == "a"
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
    assert run(*ask(index, "--json", "/dev/null"))[0] == 0
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)


@pytest.mark.parametrize(
    "words",
    [
        ("index", "info", "{index}", "--json"),
        ("list", "methods", "--json"),
        ("index", "engine", "{index}", "--engine", "mih", "--json"),
    ],
)
def test_other_verbs_keep_standard_output_for_the_file(run, index, words):
    status, out, err = run(*(word.format(index=index) for word in words), "-")
    assert status == 0 and strict(out) and err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--json", "{tmp}"), "it is a directory"),
        (("--json", "{tmp}/" + "x" * 256), "the name has 256 bytes"),
        (("--json", "{tmp}/q.npy/x.json"), "q.npy is not a directory"),
        (("--gallery", "{tmp}"), "it is a directory"),
        (("--json", "-", "--gallery", "-"), "only one file can go to standard output"),
    ],
)
def test_a_bad_place_is_refused_before_the_search(run, index, tmp_path, words, says):
    before = sorted(tmp_path.rglob("*"))
    status, out, err = run(*ask(index, *(word.format(tmp=tmp_path) for word in words)))
    assert status == 1 and says in err and not out and err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_gallery_goes_to_standard_output(index, monkeypatch, tmp_path):
    from limbeck.cli import main

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))
    monkeypatch.setattr("sys.argv", [str(word) for word in ("limbeck", *ask(index, "--gallery", "-"))])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code and Image.open(io.BytesIO(raw.getvalue())).format == "PNG"


def test_names_do_not_steer_the_terminal(run, index):
    for words in (ask(index), ("search", index, "--like", EVIL), ("search", index, "--like", EVIL + "?")):
        _, out, err = run(*words)
        assert not set(out + err) & {"\x1b", "\x07", "\x9b"} and "\\x1b[31mred" in out + err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_a_console_of_another_encoding_does_not_stop_a_search(index, monkeypatch, encoding):
    from limbeck.cli import main

    raw, errors = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(errors, encoding=encoding))
    monkeypatch.setattr("sys.argv", [str(word) for word in ("limbeck", *ask(index))])
    with pytest.raises(SystemExit) as end:
        main()
    sys.stdout.flush()
    sys.stderr.flush()
    assert not end.value.code and b"??????" in raw.getvalue() and not errors.getvalue()
