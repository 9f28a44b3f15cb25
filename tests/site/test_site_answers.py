"""A site answers as `limbeck.Index` does: words, items, sums, filters, prefixes, folding, ties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from javascript import needs_node
from small_site import ask, small_index, write

from limbeck.index.confidence import Calibration, Curve
from limbeck.search import Index, Term

RED, GREEN, BLUE = ({"text": text, "weight": 1} for text in ("red", "green", "blue"))
QUERIES: list[dict[str, Any]] = [
    {"terms": [RED], "k": 20},
    {"terms": [{"text": "dark blue", "weight": 1}], "k": 500},
    {"terms": [{"id": "item 20", "weight": 1}], "k": 5},
    {"terms": [RED, GREEN | {"weight": -0.5}], "k": 12},
    {"terms": [BLUE, {"id": "item 9", "weight": 2}], "k": 12},
    {"terms": [{"id": "item 30", "weight": -1}], "k": 7},
    {"terms": [RED], "k": 9, "filters": [{"column": "labels", "list": True, "values": ["l2", "l5"]}]},
    {
        "terms": [{"id": "item 12", "weight": 1}],
        "k": 9,
        "filters": [
            {"column": "labels", "list": True, "values": ["l1"]},
            {"column": "kind", "list": False, "values": ["a'b", "</script><b>"]},
        ],
    },
    {"terms": [{"id": "item 5", "weight": 1}], "k": 9, "fold": True},
    {"terms": [GREEN], "k": 30, "fold": True},
]  # fmt: skip


def expected(index: Index, asked: dict[str, Any]) -> list[tuple[str, float, list[str], float | None]]:
    """The hits of the index for a query of the page."""
    terms = [Term(text=one.get("text"), id=one.get("id"), weight=one["weight"]) for one in asked["terms"]]
    tests = []
    for one in asked.get("filters", []):
        values = ", ".join("'" + value.replace("'", "''") + "'" for value in one["values"])
        tests.append(f"{one['column']} {'has' if one['list'] else 'in'} ({values})")
    options = {name: asked[name] for name in ("k", "fold", "bits") if name in asked}
    hits = index.search(terms=terms, where=" and ".join(tests) or None, **options)
    return [(hit.id, hit.score, list(hit.alike), hit.confidence) for hit in hits]


def calibrated(path: Path) -> None:
    """Give an index a curve for texts and one for items; random codes have none of their own."""
    knots = [[-3.0, 0.01], [-0.5, 0.2], [0.4, 0.6], [2.5, 0.97]]
    text, image = ([0.3, 0.05, 0.6, -0.2], [-0.1, 0.02, 0.9, -0.4])
    curves = {
        kind: Curve("relevance", "its label fits", None, 200, 0.4, weights, knots)
        for kind, weights in (("text", text), ("image", image))
    }
    index = Index.open(path)
    Calibration(len(index), index.store.manifest.space_id, curves).save(path)


@needs_node
@pytest.mark.parametrize("kind", ["codes", "embeddings", "vectors", "embeddings that stay private"])
def test_the_hits_are_those_of_the_index(tmp_path: Path, kind: str) -> None:
    bits, embeddings = (None if kind == "vectors" else 64), kind == "embeddings"
    path = small_index(tmp_path / "index", bits=bits, embeddings=embeddings)
    calibrated(path)
    index = Index.open(path)
    if "private" in kind:  # then the site answers as the index without them
        path = small_index(tmp_path / "keeps", bits=bits, embeddings=True)
        calibrated(path)
    queries = QUERIES + [one | {"bits": 16} for one in QUERIES[:4]] * (kind != "vectors")
    answers, info, *_ = ask(write(path, tmp_path / "site", embeddings=embeddings), queries)
    calibration = index.calibration
    assert calibration
    told = {kind: curve.describe() for kind, curve in calibration.curves.items()}
    assert info["indexes"][0]["confidence"] == told
    assert info["indexes"][0]["prefixes"] == ([] if kind == "vectors" else [8, 16, 32])
    sure = []
    for asked, answer in zip(queries, answers, strict=True):
        wanted = expected(index, asked)
        names, scores, alike, confidence = zip(*wanted, strict=True)
        assert ([one[0] for one in answer], [one[2] for one in answer]) == (list(names), list(alike)), asked
        assert [one[1] for one in answer] == pytest.approx(scores, abs=1e-7)
        assert (answer[0][3] is None) == (len(asked["terms"]) > 1 or asked["terms"][0]["weight"] < 0)
        if answer[0][3] is not None:
            assert [one[3] for one in answer] == pytest.approx(confidence, abs=1e-5)
            sure.append(answer[0][3])
    assert len(set(sure)) > 1


@needs_node
def test_what_the_page_is_told(tmp_path: Path) -> None:
    index = small_index(tmp_path / "index")
    refused = [
        {"terms": [{"text": "qqq", "weight": 1}]},
        {"terms": [{"id": "item 7", "weight": 1}]},  # removed
        {"terms": [{"image": {}, "weight": 1}]},
        {"terms": [{"text": "red", "weight": 1}], "filters": [{"column": "path", "values": ["1.jpg"]}]},
        {"terms": [{"text": "red", "weight": 1}, {"text": "red", "weight": -1}]},
    ]
    answers, info, facets, examples = ask(write(index, tmp_path / "site"), refused)
    assert answers == ["E-QUERY-WORDS", "E-ID-UNKNOWN", "E-QUERY-FORM", "E-FILTER-VALUE", "E-SPACE-POINTS"]
    told = info["indexes"][0]
    assert (told["name"], told["items"], told["bits"], told["text"]) == ("index", 297, 64, True)
    assert [(one["name"], one["list"]) for one in facets] == [("labels", True), ("kind", False)]
    assert {value["value"]: value["count"] for value in facets[1]["values"]} == {
        "a'b": 98,
        "</script><b>": 99,
    }
    assert len(examples["items"]) == 12 and all("red number" in text for text in examples["texts"])
    assert set(examples["items"][0]["metadata"]) == {"labels", "kind", "captions"}


@needs_node
def test_a_site_without_words(tmp_path: Path) -> None:
    queries = [{"terms": [{"id": "item 20", "weight": 1}], "k": 3}]
    index = small_index(tmp_path / "index")
    answers, info, _, examples = ask(write(index, tmp_path / "site", text=False), queries)
    assert [one for one, *_ in answers[0]] == [
        hit.id for hit in Index.open(index).search(like="item 20", k=3)
    ]
    assert info["indexes"][0]["text"] is False and examples["texts"] == []
    assert not (tmp_path / "site/data/tower.js").exists()
