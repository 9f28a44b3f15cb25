"""`limbeck search` with a filter, a radius, and a file of queries, as a user runs it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import limbeck
from limbeck.search import SearchOptions, answer_file
from limbeck.spaces import Hamming
from number_encoder import NumberEncoder

CODES = np.random.default_rng(5).integers(0, 256, (40, 8), dtype=np.uint8)
ITEMS = {
    "id": [f"id-{i}" for i in range(40)],
    "labels": [["sky"] if i % 4 == 0 else ["sea"] for i in range(40)],
    "width": [100 * (i % 10) for i in range(40)],
}


@pytest.fixture
def index(tmp_path):
    return limbeck.Index.build(tmp_path / "i", CODES, items=ITEMS, model=NumberEncoder(CODES, Hamming(64)))


def distances(row):
    return np.unpackbits(CODES ^ CODES[row], axis=1).sum(1)


def test_filter_and_radius_on_the_command_line(run, index, tmp_path):
    path, out = index.store.path, tmp_path / "hits.json"
    status, _, _ = run(
        "search", path, "--like", "id-3", "--where", "labels has sky and width > 300", "--json", out
    )
    value = json.loads(out.read_text())
    hits = value["results"][0]["hits"]
    assert status == 0 and value["where"] == "labels has sky and width > 300" and value["k"] == 10
    allowed = [i for i in range(40) if i % 4 == 0 and i % 10 > 3]
    assert {hit["id"] for hit in hits} <= {f"id-{i}" for i in allowed} and len(hits) == min(10, len(allowed))
    status, _, _ = run("search", path, "--like", "id-3", "--radius", 30, "--json", out)
    value = json.loads(out.read_text())
    near = [i for i in range(40) if distances(3)[i] <= 30 and i != 3]
    assert status == 0 and {hit["id"] for hit in value["results"][0]["hits"]} == {f"id-{i}" for i in near}
    assert value["radius"] == 30 and value["k"] is None and len(near) > 5
    for words, message in [
        (["--where", "lables has sky"], "where: there is no column 'lables'; did you mean 'labels'?"),
        (["--radius", 2.5], "radius: 2.5 is not whole"),
        (["--radius", -1], "radius: -1.0 is not a distance"),
    ]:
        status, _, err = run("search", path, "--like", "id-3", *words)
        assert status == 1 and message in err and err.count("\n") == 1


def test_a_file_of_queries_gives_json_lines(index, tmp_path):
    Image.new("RGB", (17, 3)).save(tmp_path / "17.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    lines = [{"text": "5"}, {"like": "id-3"}, {"image": "17.png"}, {"text": "words"}, {"image": "broken.png"}]
    (tmp_path / "q.jsonl").write_text("\n\n".join(json.dumps(line) for line in lines))
    found = list(answer_file(index, tmp_path / "q.jsonl", SearchOptions(4, where="width < 900")))
    assert [line["query"].get("text") for line in found] == ["5", None, None, "words", None]
    assert [[hit["id"] for hit in line["hits"]] for line in found[:3]] == [
        [hit.id for hit in index.search("5", 4, where="width < 900")],
        [hit.id for hit in index.search(like="id-3", k=4, where="width < 900")],
        [hit.id for hit in index.search("17", 4, where="width < 900")],
    ]
    assert found[0]["hits"][0] == {
        "rank": 1,
        "id": "id-5",
        "score": 0,
        "metadata": {"labels": ["sea"], "width": 500},
    }
    assert "the model knows none" in found[3]["error"] and "broken.png" in found[4]["error"]
    near = list(answer_file(index, tmp_path / "q.jsonl", SearchOptions(radius=20)))
    assert [hit["id"] for hit in near[1]["hits"]] == [hit.id for hit in index.search(like="id-3", radius=20)]


def test_queries_on_the_command_line(run, index, tmp_path):
    path, out = index.store.path, tmp_path / "answers.jsonl"
    (tmp_path / "q.jsonl").write_text('{"like": "id-1"}\n{"like": "id-2"}\n')
    status, text, _ = run("search", path, "--queries", tmp_path / "q.jsonl", "-k", 3)
    assert status == 0
    assert [len(json.loads(line)["hits"]) for line in text.splitlines()] == [3, 3]
    status, _, _ = run("search", path, "--queries", tmp_path / "q.jsonl", "-k", 3, "--json", out)
    assert status == 0 and out.read_text() == text
    (tmp_path / "q.jsonl").write_text('{"like": "id-1"}\n{"like": "nobody"}\n')
    status, text, err = run("search", path, "--queries", tmp_path / "q.jsonl")
    assert status == 1 and "1 queries failed" in err and len(text.splitlines()) == 2
    (tmp_path / "q.jsonl").write_text("")
    (tmp_path / "q.txt").write_bytes(b"\xe4\x00")
    for name, message in (
        ("q.jsonl", "empty; give one query per line"),
        ("q.txt", "not a text file"),
        ("none.txt", "no such file"),
    ):
        status, _, err = run("search", path, "--queries", tmp_path / name)
        assert status == 1 and message in err
    (tmp_path / "q.txt").write_text("words\n")
    for words in (["-k", 0], ["--where", "x = 1"], ["--radius", "nan"]):
        assert run("search", path, "--queries", tmp_path / "q.jsonl", *words)[0] == 1
    assert run("search", path, "words", "--queries", tmp_path / "q.txt")[0] == 2
    assert run("search", path, "--queries", tmp_path / "q.txt", "--gallery", "x.png")[0] == 2


def test_a_bad_line_is_listed_and_the_others_are_answered(run, index, tmp_path):
    file, good = tmp_path / "q.jsonl", '{"like": "id-1"}'
    faults = [
        ("{}", "is not a query"),
        ("[3]", "is not a query"),
        ('{"like": 3}', "holds no string"),
        ('{"word": "x"}', "is not a query"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"text": "\\ud800"}', "holds half of a surrogate pair"),
        ('{"image": "a\\u0000b"}', "a\x00b"),
        ('{"text": "5", "text": "6"}', "has the field 'text' twice"),
    ]
    file.write_text("\n".join([good, *(line for line, _ in faults), good]))
    answers = list(answer_file(index, file, SearchOptions(1)))
    assert len(answers) == len(faults) + 2 and "hits" in answers[0] and "hits" in answers[-1]
    for at, (_, message) in enumerate(faults, start=1):
        assert message in answers[at]["error"] and answers[at]["line"] == at + 1
    file.write_text(f"{faults[0][0]}\n{good}\n")
    status, text, err = run("search", index.store.path, "--queries", file, "-k", 1)
    assert status == 1 and "1 queries failed" in err and len(text.splitlines()) == 2


def test_only_line_feeds_end_queries_and_encodings_are_found(run, index, tmp_path):
    file = tmp_path / "q.txt"
    file.write_bytes("\ufeff5\u2028\u0085\x0b\x1c\r\n7\n".encode())
    assert [answer["query"] for answer in answer_file(index, file, SearchOptions(1))] == [
        {"text": "5"},
        {"text": "7"},
    ]
    file.write_text("5\u20287\n", encoding="utf-16")
    _, text, err = run("search", index.store.path, "--queries", file)
    assert json.loads(text)["query"] == {"text": "5\u20287"} and "read as UTF-16" in err
