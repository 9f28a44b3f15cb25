"""The linear probe against scikit-learn by hand, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from doubles import Encodes
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.evaluation.probe import CS, linear_probe
from raising import raises_code
from tiny import CLASSES, write_pairs, write_protocol


class Raw(Encodes):
    """An encoder whose features are the file's rows."""

    image_input = "features:cnn"

    def encode_image(self, images: np.ndarray, *, output: str, batch_size: int) -> np.ndarray:
        assert output == "features"
        return np.asarray(images, np.float32)


def split(pairs: Pairs, protocol: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    splits = resolve_splits(protocol, pairs)
    train, held_out = splits.held_out
    return train.rows, held_out.rows, splits.query.rows


def standard(pairs: Pairs, parts: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    train = pairs.features("cnn", parts[0]).astype(np.float64)
    return [(pairs.features("cnn", rows) - train.mean(0)) / train.std() for rows in parts]


def test_several_labels_against_scikit_learn(tmp_path: Path) -> None:
    pairs, protocol = Pairs.open(write_pairs(tmp_path)), load_protocol(write_protocol(tmp_path))
    scores, said = linear_probe(Raw(), resolve_splits(protocol, pairs))  # type: ignore[arg-type]
    parts = split(pairs, protocol)
    x, y = standard(pairs, parts), [pairs.labels(rows).astype(bool) for rows in parts]

    def value(c: float, part: int) -> float:
        found = []
        for label in range(len(CLASSES)):
            if y[part][:, label].any() and not y[part][:, label].all():
                fitted = LogisticRegression(C=c, max_iter=1000).fit(x[0], y[0][:, label])
                found.append(average_precision_score(y[part][:, label], fitted.decision_function(x[part])))
        return float(np.mean(found))

    best = min(CS, key=lambda c: (-value(c, 1), c))
    assert said["c"] == best
    assert scores.metrics["probe"] == {"map": pytest.approx(value(best, 2))}
    assert 0.5 < scores.metrics["probe"]["map"] <= 1
    assert said["rows"] == {"train": 40, "validation": 8, "query": 16}


def one_label(folder: Path, *, keep: int = 4) -> Pairs:
    """Rows whose one label is their first; some have none."""
    whole = Pairs.open(write_pairs(folder))
    labels = [own[:1] if own[0] in CLASSES[:keep] else [] for own in whole.labels_text]
    labels[0] = []
    columns = {
        "id": whole.ids, "captions": whole.captions, "tags": whole.tags, "labels": labels,
        "split": whole.table.column("split").to_pylist(),
    }  # fmt: skip
    meta = {"name": "one", "label_names": whole.label_names, "features": whole.meta["features"]}
    Pairs.write(folder / "one", columns, meta)
    return Pairs.open(folder / "one")


def test_one_class_a_row(tmp_path: Path) -> None:
    pairs, protocol = one_label(tmp_path), load_protocol(write_protocol(tmp_path))
    scores, said = linear_probe(Raw(), resolve_splits(protocol, pairs))  # type: ignore[arg-type]
    parts = split(pairs, protocol)
    x = standard(pairs, parts)
    y = [np.array([(pairs.labels_text[r] or ["-"])[0] for r in rows.tolist()]) for rows in parts]
    fitted = LogisticRegression(C=said["c"], max_iter=1000).fit(x[0][y[0] != "-"], y[0][y[0] != "-"])
    shown = y[2] != "-"
    right = fitted.predict(x[2][shown]) == y[2][shown]
    assert scores.metrics["probe"]["top1"] == pytest.approx(right.mean())
    by_class = [right[y[2][shown] == name].mean() for name in sorted(set(y[2][shown]))]
    assert scores.metrics["probe"]["mean_per_class"] == pytest.approx(np.mean(by_class))
    assert [v is None for v in scores.per_query["probe"]] == (~shown).tolist()
    assert said["rows"]["query"] == shown.sum()


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = load_protocol(write_protocol(tmp_path))
    with raises_code("E-DATA-LABELS", "one:"):
        linear_probe(Raw(), resolve_splits(protocol, one_label(tmp_path / "a", keep=1)))  # type: ignore[arg-type]
    with raises_code("E-DATA-LABELS", "one:"):
        linear_probe(Raw(), resolve_splits(protocol, one_label(tmp_path / "b", keep=0)))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with raises_code("E-PACKAGE-MISSING", "'limbeck[probe]'"):
        linear_probe(Raw(), resolve_splits(protocol, one_label(tmp_path / "c")))  # type: ignore[arg-type]


def test_through_evaluate_and_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from limbeck.cli.app import app
    from limbeck.evaluation import compare
    from limbeck.evaluation.results import Result
    from limbeck.reporting.comparison import comparison_tables
    from limbeck.training import train
    from tiny import soda_recipe

    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    recipe = soda_recipe(write_pairs(tmp_path), write_protocol(tmp_path), steps=2)
    run = train(recipe, out=tmp_path / "run", quiet=True)
    done = CliRunner().invoke(app, ["evaluate", str(run), "--probe", "--no-ceiling"])
    assert done.exit_code == 0, done.output
    assert "linear probe" in done.stdout
    result = Result.load(run / "result.json")
    assert 0 < result.metrics["probe"]["map"] <= 1
    assert result.settings["probe"]["c"] in CS
    assert any(table.title.startswith("linear probe") for table in comparison_tables(compare([result])))
    assert CliRunner().invoke(app, ["evaluate", "--codes", "c.npz", "--probe"]).exit_code == 2
