"""``validation.measure``: held-out pairs ask a database that holds unseen rows, as the test database does."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.metrics import hamming_map
from limbeck.training import train, validation
from limbeck.training.validation import open_draws, validation_score
from raising import raises_code


def ruled(hashing: Path, folder: Path, **changes: Any) -> Path:
    """The tiny hashing protocol with changes to its validation."""
    content = yaml.safe_load(hashing.read_text())
    content["validation"] |= changes
    file = folder / "open.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_every_held_out_pair_asks_once_and_the_database_has_the_proportion(hashing, tmp_path):
    protocol = load_protocol(ruled(hashing, tmp_path, measure="whole", draws=4))
    draws = list(open_draws(40, 500, 2.5, protocol))
    assert sorted(np.concatenate([draw.asking for draw in draws]).tolist()) == list(range(40))
    for draw in draws:
        assert not set(draw.asking) & set(draw.unseen) and len(draw.asking) + len(draw.unseen) == 40
        assert len(draw.trained) == 2.5 * len(draw.unseen) and len(set(draw.trained)) == 75
        assert draw.trained.tolist() == draws[0].trained.tolist()
    with raises_code("E-PROTOCOL-SPLIT", "4 draws need as many held-out pairs, but there are 3"):
        next(open_draws(3, 500, 2.5, protocol))


@pytest.mark.parametrize("measure", ["whole", "unseen"])
def test_the_score_is_the_mean_over_draws_of_the_named_measure(hashing, tmp_path, monkeypatch, measure):
    """Oracle: each draw searched by itself."""
    protocol = load_protocol(ruled(hashing, tmp_path, measure=measure, draws=2))
    rng = np.random.default_rng(0)
    sizes = {"held": 21, "train": 40}
    codes = {
        (p, m): rng.integers(0, 256, (n, 2), np.uint8) for p, n in sizes.items() for m in ("image", "text")
    }
    labels = {p: torch.from_numpy((rng.random((n, 3)) < 0.4).astype(np.float32)) for p, n in sizes.items()}

    class View:
        def __init__(self, part: str) -> None:
            self.labels = labels[part]

        def __len__(self) -> int:
            return len(self.labels)

    readers = {p: {m: SimpleNamespace(view=View(p), at=(p, m)) for m in ("image", "text")} for p in sizes}
    monkeypatch.setattr(validation, "points", lambda encoder, m, source, count: codes[source.at][:count])
    encoder: Any = SimpleNamespace(space=SimpleNamespace(storage="codes"))
    found = validation_score(encoder, protocol, readers["train"], readers["held"], trained_per_unseen=1.5)

    values: dict[str, list[list[float]]] = {"whole": [], "unseen": []}
    draws = list(open_draws(21, 40, 1.5, protocol))
    for draw in draws:
        asking, unseen, seen = draw.asking, draw.unseen, draw.trained
        q, n, t = labels["held"][asking], labels["held"][unseen], labels["train"][seen]
        for name, rows, items in (("whole", torch.cat([n, t]), True), ("unseen", n, False)):
            both = []
            for a, b in (("image", "text"), ("text", "image")):
                kept = codes["held", b][unseen]
                base = np.concatenate([kept, codes["train", b][seen]]) if items else kept
                both.append(hamming_map(codes["held", a][asking], base, q > 0, rows > 0).value)
            values[name].append(both)
    weights = [len(draw.asking) for draw in draws]
    means = {name: np.average(own, axis=0, weights=weights) for name, own in values.items()}
    assert [found["i2t/mAP"], found["t2i/mAP"]] == pytest.approx(means["whole"])
    assert [found["i2t/mAP_unseen"], found["t2i/mAP_unseen"]] == pytest.approx(means["unseen"])
    assert found["score"] == pytest.approx(means[measure].mean())
    assert found["sd"] == pytest.approx(np.std(np.mean(values[measure], axis=1), ddof=1))


def test_training_selects_by_it_and_logs_its_parts(recipe, hashing, tmp_path):
    recipe["data"]["protocol"] = str(ruled(hashing, tmp_path, measure="unseen", draws=2))
    run = train(recipe, out=tmp_path / "run", quiet=True)
    stage = run / "stages" / "student"
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    looks = [row for row in rows if "val/score" in row]
    assert json.loads((stage / "done.json").read_text())["best_score"] == max(r["val/score"] for r in looks)
    for row in looks:
        assert row["val/score"] == pytest.approx((row["val/i2t/mAP_unseen"] + row["val/t2i/mAP_unseen"]) / 2)
        assert row["val/i2t/mAP"] > 0 and row["val/sd"] >= 0


def test_the_proportion_is_that_of_the_database(pairs_dir, hashing, tmp_path):
    pairs = Pairs.open(pairs_dir)
    assert resolve_splits(load_protocol(hashing), pairs).trained_per_unseen == 48 / 16
    content = yaml.safe_load(ruled(hashing, tmp_path, measure="whole").read_text())
    content["splits"]["database"] = content["splits"]["train"]
    splits = resolve_splits(Protocol.model_validate(content), pairs)
    with raises_code("E-PROTOCOL-SPLIT", "no row that is not trained on", "measure: trained"):
        _ = splits.trained_per_unseen


def test_the_hash_names_the_measure_and_older_hashes_stay(hashing, retrieval, tmp_path):
    hashes = {
        name: load_protocol(ruled(hashing, tmp_path, **own)).hash
        for name, own in {
            "whole": {"measure": "whole"},
            "unseen": {"measure": "unseen"},
            "draws": {"measure": "unseen", "draws": 5},
            "trained": {"measure": "trained", "draws": 5},
        }.items()
    }
    assert hashes.pop("trained") == load_protocol(hashing).hash not in hashes.values()
    assert len(set(hashes.values())) == 3
    with raises_code("E-CONFIG-VALUE", "validation.measure: only a hashing protocol"):
        load_protocol(ruled(retrieval, tmp_path, measure="unseen"))


def test_the_open_protocol_has_the_rows_of_its_base():
    base, own = (load_protocol(f"mirflickr15k/dcmh{tail}") for tail in ("", "-open"))
    assert own.context.lists == base.context.lists and own.metric == base.metric
    assert own.validation.measure == "unseen" and own.hash != base.hash
