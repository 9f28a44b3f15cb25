"""mAP label by label against a naive ranking; rare, unseen, and runs that hid labels from a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck
from limbeck.cli.app import app
from limbeck.codes import pack_bits
from limbeck.data.pairs import Pairs
from limbeck.data.prompts import label_prompt
from limbeck.errors import LimbeckError
from limbeck.evaluation import evaluate
from limbeck.evaluation.by_label import score_labels
from limbeck.evaluation.hashing import Labelled
from limbeck.evaluation.results import Result
from limbeck.metrics import hamming_map, ranking_map
from limbeck.spaces import Hamming, Sphere
from limbeck.training import train
from raising import raises_code
from tiny import CLASSES, soda_recipe, write_pairs, write_protocol

NAMES = ["a", "b", "c", "d"]
SETTINGS: dict[str, Any] = {"k": None, "ties": "expected", "normalizer": "relevant", "empty": "skip"}


def naive(distances: np.ndarray, has: np.ndarray) -> float:
    """AP in expectation over ties: each relevant item at the mean of its places, exactly."""
    total = 0.0
    for own in np.unique(distances):
        before, tied = distances < own, distances == own
        n, r, n0, r0 = tied.sum(), has[tied].sum(), before.sum(), has[before].sum()
        for place in range(1, n + 1):  # the chance r / n of a hit there, the others in hypergeometric mean
            others = (place - 1) * (r - 1) / (n - 1) if n > 1 else 0
            total += r / n * (r0 + others + 1) / (n0 + place)
    return total / has.sum()


def some(seed: int, rows: int, codes: bool) -> tuple[Labelled, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random((rows, 4)) < [0.6, 0.3, 0.3, 0.0]
    raw = rng.standard_normal((rows, 8)) + 2 * labels @ rng.standard_normal((4, 8))
    if codes:
        return Labelled(pack_bits(raw >= 0), labels), np.where(raw >= 0, 1, -1)
    unit = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return Labelled(unit, labels), unit.astype(np.float64)


@pytest.mark.parametrize("codes", [True, False])
def test_each_label_is_a_search_of_its_own(codes: bool) -> None:
    query, asked = some(0, 20, codes)
    items, stored = some(1, 60, codes)
    sets = dict.fromkeys(("query_image", "query_text"), query) | dict.fromkeys(
        ("database_image", "database_text"), items
    )
    train_labels = np.zeros((10, 4), bool)
    train_labels[:, 0] = train_labels[:3, 1] = train_labels[:5, 2] = True
    space = Hamming(8) if codes else Sphere(8)
    scores, about = score_labels(space, sets, NAMES, train_labels, SETTINGS, unseen=["c"])
    wanted = {}
    for column, name in enumerate(NAMES[:3]):
        own = [
            naive(-(stored @ asked[row]).round(9), items.labels[:, column])
            for row in np.flatnonzero(query.labels[:, column])
        ]
        wanted[name] = np.mean(own)
        assert about["each"][name]["i2t"]["map"] == pytest.approx(wanted[name], abs=1e-6)
        assert about["each"][name]["i2t"]["queries"] == len(own)
    assert about["each"]["d"] == {
        "train": 0,
        "i2t": {"queries": 0, "items": 0, "map": None},
        "t2i": {"queries": 0, "items": 0, "map": None},
    }
    found = scores.metrics["label"]
    assert found["i2t/all"] == pytest.approx(np.mean(list(wanted.values())), abs=1e-6)
    assert found["i2t/unseen"] == pytest.approx(wanted["c"], abs=1e-6)
    assert found["i2t/seen"] == pytest.approx((wanted["a"] + wanted["b"]) / 2, abs=1e-6)
    assert about["rare"] == ["d"]  # a third of four labels
    assert "i2t/rare" not in found  # nobody asks for it
    assert found["t2i/all"] == found["i2t/all"]


def test_labels_that_are_none() -> None:
    sets = dict.fromkeys(
        ("query_image", "query_text", "database_image", "database_text"), some(0, 9, True)[0]
    )
    with raises_code("E-LABEL-UNKNOWN", "unseen:", "'e'", "a, b, c, d"):
        score_labels(Hamming(8), sets, NAMES, np.zeros((1, 4), bool), SETTINGS, unseen=["e"])
    bare = {name: Labelled(part.points, np.zeros_like(part.labels)) for name, part in sets.items()}
    with pytest.raises(LimbeckError, match="no label has both a query and an item"):
        score_labels(Hamming(8), bare, NAMES, np.zeros((1, 4), bool), SETTINGS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by-label")
    write_pairs(folder, rows=120)
    recipe = soda_recipe(folder / "pairs", write_protocol(folder))
    recipe["stages"]["teacher"]["hide"] = {"labels": ["sky"]}
    train(recipe, out=folder / "run", quiet=True)
    write_protocol(folder, "retrieval")
    return folder / "run"


def test_a_run_knows_what_it_hid(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["evaluate", str(run), "--by-label", "--no-ceiling"], standalone_mode=False)
    assert "mAP by label" in capsys.readouterr().out
    result = Result.load(run / "result.json")
    about = result.settings["labels"]
    assert about["unseen"] == ["sky"]
    assert set(about["each"]) == set(CLASSES)
    assert result.metrics["label"]["t2i/unseen"] == pytest.approx(about["each"]["sky"]["t2i"]["map"])
    plain = evaluate(run, ceiling=False)
    assert "label" not in plain.metrics
    assert plain.metrics["i2t"]["map"] == result.metrics["i2t"]["map"]
    other = evaluate(run, ceiling=False, unseen=["cat", "dog"])
    assert other.settings["labels"]["unseen"] == ["cat", "dog"]


def test_it_wants_labels_as_relevance(run: Path) -> None:
    with raises_code("E-PROTOCOL-TASK", "--by-label"):
        evaluate(run, protocol=run.parent / "retrieval.yaml", by_label=True)


def test_exact_words_ask_with_class_names_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["evaluate", str(run), "--exact-words", "--no-ceiling"], standalone_mode=False)
    assert "exact" in capsys.readouterr().out
    control = Result.load(run / "result-exact-words.json")
    assert control.label == "tiny/soda, exact words"
    model, pairs = limbeck.load(run), Pairs.open(run.parent / "pairs")
    rows = pairs.split_rows("query")
    prompts = [label_prompt([c for c in CLASSES if c in pairs.tags[row]]) for row in rows.tolist()]
    items = np.concatenate([pairs.split_rows("train"), pairs.split_rows("rest")])
    codes = model.encode_text(prompts), model.encode_image(pairs.features("cnn", items))
    wanted = hamming_map(*codes, pairs.labels(rows), pairs.labels(items)).value
    assert control.metrics["t2i"]["map"] == pytest.approx(wanted, abs=1e-9)


def test_asymmetric_is_a_row_of_real_queries(run: Path) -> None:
    app(["evaluate", str(run), "--asymmetric", "--no-ceiling"], standalone_mode=False)
    result, plain = Result.load(run / "result-asymmetric.json"), evaluate(run, ceiling=False)
    assert result.label == "tiny/soda, asymmetric" and result.bits == plain.bits
    assert not result.curves["t2i"] and not result.health["database_image"]
    model, pairs = limbeck.load(run), Pairs.open(run.parent / "pairs")
    rows, items = pairs.split_rows("query"), np.concatenate([pairs.split_rows(n) for n in ("train", "rest")])
    numbers = model.encode_image(pairs.features("cnn", rows), output="embeddings")
    texts = [" ".join(pairs.tags[row]) for row in items.tolist()]
    signs = np.where(model.encode_text(texts, output="embeddings") >= 0, 1, -1)
    relevant = pairs.labels(rows).astype(int) @ pairs.labels(items).T.astype(int) > 0
    rules = result.settings["metric"]  # items of equal codes tie
    wanted = ranking_map(numbers @ signs.T, relevant, **rules).value
    assert result.metrics["i2t"]["map"] == pytest.approx(wanted, abs=1e-6)
    for way in ("i2t", "t2i"):
        assert plain.metrics[way]["map_asymmetric"] == result.metrics[way]["map"] != plain.metrics[way]["map"]
        assert "map_asymmetric" not in result.metrics[way]
    with raises_code("E-OPTION-UNUSED", "--asymmetric"):
        evaluate(run, protocol=run.parent / "retrieval.yaml", asymmetric=True)
