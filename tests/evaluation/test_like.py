"""Metrics of public repositories: each preset against that repository's loop, written again in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.errors import LimbeckError
from limbeck.evaluation import compare, evaluate
from limbeck.evaluation.metric_presets import PRESETS, as_in
from limbeck.metrics import hamming_map
from limbeck.reporting.comparison import comparison_tables
from limbeck.reporting.tables import result_tables
from raising import raises_code

K = 9


def codes(seed: int = 0, queries: int = 12, items: int = 80) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    labels = rng.random((queries + items, 6)) < 0.15
    labels[0] = False
    packed = rng.integers(0, 256, (queries + items, 1), dtype=np.uint8)
    return packed[:queries], packed[queries:], labels[:queries], labels[queries:]


def ranked(data: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Relevance of all items in the order of a stable sort, a row a query."""
    distances = np.unpackbits(data[0][:, None] ^ data[1][None], axis=-1).sum(-1)
    relevant = (data[2].astype(int) @ data[3].T.astype(int)) > 0
    return [row[np.argsort(d, kind="stable")] for row, d in zip(relevant, distances, strict=True)]


def first_relevant_mean(rows: list[np.ndarray], k: int | None) -> float:
    """QinLab, DCHMT, MITH, SSAH, TwDH: mean of count / rank over the first min(k, R) relevant items."""
    values = []
    for row in rows:
        places = np.flatnonzero(row) + 1
        total = min(k or len(row), len(places))
        values.append(np.mean(np.arange(1, total + 1) / places[:total]) if total else 0.0)
    return float(np.mean(values))


def among_first(rows: list[np.ndarray], k: int | None, skip: bool) -> float:
    """UCCH (skips queries that find nothing), DeepHash (counts them 0)."""
    values = []
    for row in rows:
        top = row[:k]
        found = int(top.sum())
        if found:
            precision = np.cumsum(top) / np.arange(1, len(top) + 1)
            values.append(float(top @ precision) / found)
        elif not skip:
            values.append(0.0)
    return float(np.mean(values))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_their_loops(name: str) -> None:
    data = codes()
    rows = ranked(data)
    rules = PRESETS[name].metric.model_dump(include={"k", "ties", "normalizer", "empty"})
    if rules["empty"] == "error":
        with raises_code("E-METRIC-UNDEFINED", "queries:"):
            hamming_map(*data, **rules)
        data, rows = (data[0][1:], data[1], data[2][1:], data[3]), rows[1:]
        keep = [i for i, row in enumerate(rows) if row.any()]
        data, rows = (data[0][keep], data[1], data[2][keep], data[3]), [rows[i] for i in keep]
    k = K if rules["k"] else None
    found = hamming_map(*data, **{**rules, "k": k}).value
    if name in ("ucch", "deephash"):
        expected = among_first(rows, k, skip=name == "ucch")
    else:
        expected = first_relevant_mean(rows, k)
    assert found == pytest.approx(expected, abs=1e-12)


def test_like_is_another_protocol(coder: Any, pairs: Pairs, hashing: Protocol) -> None:
    plain = evaluate(coder, pairs, hashing, ceiling=False)
    like = evaluate(coder, pairs, hashing, ceiling=False, metric_preset="qinlab")
    assert like.protocol == f"{hashing.name}@qinlab" and like.protocol_hash != plain.protocol_hash
    assert "test queries" in like.settings["like"]["not_reproduced"]
    assert like.settings["metric"]["ties"] == "id"
    assert "like" not in plain.settings
    assert hashing.hash == plain.protocol_hash
    with pytest.raises(LimbeckError, match="differs from"):
        compare([plain, like])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_ends_in_a_table(coder: Any, pairs: Pairs, hashing: Protocol, name: str) -> None:
    splits = {"query": "rest", "database": "train", "train": "train"}  # each of these queries finds something
    tree = hashing.model_dump() | {"splits": {own: {"column_value": value} for own, value in splits.items()}}
    found = evaluate(coder, pairs, Protocol.model_validate(tree), ceiling=False, metric_preset=name)
    assert [table.title for table in result_tables([found])] == [f"mAP, {hashing.name}@{name}"]
    assert comparison_tables(compare([found]))


def test_what_cannot_be(coder: Any, pairs: Pairs, hashing: Protocol, retrieval: Protocol) -> None:
    with raises_code("E-OPTION-CHOICE", "'qinlab'"):
        as_in(hashing, "quinlab")
    with pytest.raises(LimbeckError, match="is for retrieval; choose a hashing protocol"):
        as_in(retrieval, "mith")
    with raises_code("E-OPTION-MISSING", "--protocol"):
        from limbeck.evaluation.external_codes import evaluate_codes

        file = Path(str(pairs.path)).parent / "codes.npz"
        np.savez(file, query_image=np.zeros((2, 1), np.uint8), database_text=np.zeros((2, 1), np.uint8))
        evaluate_codes(file, metric_preset="mith")


def test_further_figures_of_codes(coder: Any, embedder: Any, pairs: Pairs, hashing: Protocol) -> None:
    from limbeck.reporting.codes import code_tables

    result = evaluate(coder, pairs, hashing, ceiling=False)
    for way in ("i2t", "t2i"):
        own = result.metrics[way]
        assert 0 < own["ndcg@100"] <= 1 and 0 < own["p@100"] <= 1
        assert own["lookup_precision"] == pytest.approx(result.curves[way]["precision"][2])
        assert own["lookup_answered"] == pytest.approx(result.curves[way]["answered"][2])
    tables = code_tables([result])
    assert [table.title.split(",")[0] for table in tables] == ["Codes", "Bits"]
    assert len(tables[0].rows) == 2 and len(tables[1].rows) == 4
    assert "NDCG@100" in tables[0].markdown()
    assert code_tables([evaluate(embedder, pairs, hashing)]) == []
