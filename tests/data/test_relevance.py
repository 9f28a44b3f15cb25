"""How much counts as relevant, against counting all pairs; a label on most rows is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limbeck.data.check import check_pairs
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.relevance import relevance
from limbeck.data.resolved_splits import resolve_splits
from tiny import write_pairs, write_protocol

Run = Callable[..., tuple[int, str, str]]


@given(st.integers(1, 5).flatmap(lambda c: st.tuples(arrays(bool, (7, c)), arrays(bool, (9, c)))))
def test_equals_counting_every_pair(sides: tuple[np.ndarray, np.ndarray]) -> None:
    query, database = sides
    names = [f"l{n}" for n in range(query.shape[1])]
    found = relevance(query, database, names)
    assert found is not None
    pairs = [bool((q & d).any()) for q in query for d in database]
    assert found.share == pytest.approx(np.mean(pairs))
    rows = np.concatenate([query, database])
    most = names.index(found.label)
    assert found.covers == pytest.approx(rows.mean(axis=0).max()) == pytest.approx(rows[:, most].mean())
    rest = [n for n in range(len(names)) if n != most]
    pairs = [bool((q[rest] & d[rest]).any()) for q in query for d in database]
    assert found.without == pytest.approx(np.mean(pairs))


def test_nothing_to_measure() -> None:
    assert relevance(np.zeros((0, 2), bool), np.ones((3, 2), bool), ["a", "b"]) is None
    assert relevance(np.zeros((3, 0), bool), np.ones((3, 0), bool), []) is None


@pytest.mark.parametrize(("share", "level"), [(0.9, "warning"), (0.1, "note")])
def test_check_says_it_and_names_the_label(tmp_path: Path, share: float, level: str) -> None:
    pairs = Pairs.open(write_pairs(tmp_path, rows=200))
    rng = np.random.default_rng(0)
    rows = [
        ["sky"] * (rng.random() < share) + ([f"tree{n % 50}"] if n % 3 else [f"tree{n % 40}"])
        for n in range(len(pairs))
    ]
    names = ["sky", *(f"tree{n}" for n in range(50))]
    columns = {
        "id": pairs.ids,
        "tags": pairs.tags,
        "labels": rows,
        "split": [*pairs.table.column("split").to_pylist()],
    }
    Pairs.write(tmp_path / "own", columns, {"name": "own", "label_names": names})
    own, protocol = Pairs.open(tmp_path / "own"), load_protocol(write_protocol(tmp_path))
    report = check_pairs(own, protocol)
    found = next(f for f in report.findings if f.kind == "relevant_pairs")
    assert (found.level, found.items) == (level, ["sky"])
    splits = resolve_splits(protocol, own)
    left, right = splits.query.labels, splits.database.labels
    exact = ((left.astype(int) @ right.T.astype(int)) > 0).mean()
    assert report.relevance is not None and report.relevance.share == pytest.approx(exact)
    assert f"{exact:.0%} of the query-database pairs share a label" in "\n".join(report.lines())


@pytest.mark.parametrize("rows_with_it", [12, 3])
def test_check_says_it_without_a_protocol(tmp_path: Path, rows_with_it: int) -> None:
    """Fourteen labelled rows and one without a label; each has an own label besides the common one."""
    names = ["sky", *(f"own{n}" for n in range(14))]
    labels = [["sky"] * (n < rows_with_it) + [f"own{n}"] for n in range(14)] + [[]]
    columns = {"id": [f"r{n}" for n in range(15)], "labels": labels}
    Pairs.write(tmp_path / "own", columns, {"name": "own", "label_names": names})
    report = check_pairs(Pairs.open(tmp_path / "own"))
    found = [f for f in report.findings if f.kind == "relevant_pairs"]
    share = (rows_with_it**2 + 14 - rows_with_it) / 14**2
    assert report.relevance is not None and report.relevance.share == pytest.approx(share)
    assert [(f.level, f.items) for f in found] == ([("warning", ["sky"])] if rows_with_it == 12 else [])
    told = (
        "with every labelled row as query and in the database, 74% of the query-database pairs share a label"
    )
    assert (told in "\n".join(report.lines())) is (rows_with_it == 12)
