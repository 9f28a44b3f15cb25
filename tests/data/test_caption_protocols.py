"""The protocols of caption sets: splits by list and by column, and scores against a naive count."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml
from caption_trees import draw, flickr8k, karpathy, run, sentences

from limbeck.data.protocols import FOLDER, load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.errors import LimbeckError
from limbeck.evaluation.encode import Side
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.spaces import Sphere
from raising import raises_code

LISTS = {"query": ["44_d"], "train": ["11_a", "22_b"], "val": ["33_c"]}


def listed(place: Path, **lists: list[str]) -> Path:
    """``flickr8k/official`` with other lists."""
    place.mkdir()
    content = yaml.safe_load((FOLDER / "flickr8k" / "official.yaml").read_text())
    for part, ids in (LISTS | lists).items():
        data = "".join(f"{one}\n" for one in ids).encode()
        (place / f"official.{part}.txt").write_bytes(data)
        entry = content["validation"] if part == "val" else content["splits"][part]
        entry["sha256"] = hashlib.sha256(data).hexdigest()
    file = place / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_the_lists_that_ship_are_the_official_ones():
    protocol = load_protocol("flickr8k/official")
    ids = protocol.context.lists
    assert {name: len(one) for name, one in ids.items()} == {"query": 1000, "train": 6000, "validation": 1091}
    assert len(set().union(*ids.values())) == 8091
    assert all(one == sorted(one) and not one[0].endswith(".jpg") for one in ids.values())
    assert protocol.hash == "bbf043646aa4460fccc7b471440865f356a9720afe0244214fd1748d5f275ffa"


def test_lists_need_no_split_column_and_count_in_the_hash(tmp_path):
    src = flickr8k(tmp_path / "src")
    for file in src.glob("Flickr_8k.*"):
        file.unlink()
    pairs, _ = run("flickr8k", src, tmp_path / "pairs")
    protocol = load_protocol(listed(tmp_path / "a"))
    splits = resolve_splits(protocol, pairs)
    assert [part.ids for part in splits.held_out] == [LISTS["train"], LISTS["val"]]
    assert len(splits.query.texts[0]) == 5
    other = load_protocol(listed(tmp_path / "b", val=["22_b"]))
    assert other.hash != protocol.hash
    assert [part.ids for part in resolve_splits(other, pairs).held_out] == [["11_a"], ["22_b"]]


def test_faults_of_a_validation_list(tmp_path):
    pairs, _ = run("flickr8k", flickr8k(tmp_path / "src"), tmp_path / "pairs")
    for part, ids, message in (
        ("a", ["33_c", "gone"], r"1 of 2 validation ids are not in .* \(first: gone\)"),
        ("b", ["44_d"], "validation has query rows"),
    ):
        splits = resolve_splits(load_protocol(listed(tmp_path / part, val=ids)), pairs)
        with pytest.raises(LimbeckError, match=message):
            assert splits.held_out
    file = listed(tmp_path / "c")
    (tmp_path / "c" / "official.val.txt").write_text("11_a\n")
    with raises_code("E-FILE-DAMAGED", "official.val.txt", "SHA-256"):
        load_protocol(file)
    content = yaml.safe_load(file.read_text())
    del content["validation"]["sha256"]
    file.write_text(yaml.safe_dump(content))
    with raises_code("E-CONFIG-VALUE", "mine.yaml:"):
        load_protocol(file)


@pytest.mark.parametrize("name", ["flickr30k/karpathy", "coco/karpathy"])
def test_karpathy_protocols_go_by_the_split_column(tmp_path, name):
    words = ["train", "restval", "val", "test"]
    images = [
        {"filename": f"{word}.jpg", "split": word, "sentences": sentences("one", "two")} for word in words
    ]
    draw(tmp_path / "src", [f"{word}.jpg" for word in words])
    pairs, _ = run("karpathy", karpathy(tmp_path / "src/dataset_coco.json", images), tmp_path / "out")
    splits = resolve_splits(load_protocol(name), pairs)
    assert [part.ids for part in splits.held_out] == [["train", "restval"], ["val"]]
    assert splits.query.ids == ["test"]


def naive(similarity: np.ndarray, own: np.ndarray, ks: tuple[int, ...]) -> dict[str, float]:
    """R@k and median rank, averaged over every order of the items that respects the similarities."""
    hits: dict[int, list[float]] = {k: [] for k in ks}
    expected = []
    for scores, mine in zip(similarity, own, strict=True):
        ranks = []
        for order in itertools.permutations(range(len(scores))):
            if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order)):
                ranks.append(next(place for place, item in enumerate(order, start=1) if mine[item]))
        expected.append(np.mean(ranks))
        for k in ks:
            hits[k].append(np.mean([rank <= k for rank in ranks]))
    return {f"r@{k}": float(np.mean(one)) for k, one in hits.items()} | {"median_rank": np.median(expected)}


@pytest.mark.parametrize("seed", range(4))
def test_any_hit_over_several_captions_with_ties(seed):
    rng = np.random.default_rng(seed)
    # Few directions, so that many similarities are equal; two or three captions a picture.
    directions = np.eye(3, dtype=np.float32)
    rows = np.array([5, 2, 9])
    texts = np.repeat(rows, [2, 3, 2])
    images = Side(directions[rng.integers(3, size=len(rows))], rows)
    said = Side(directions[rng.integers(3, size=len(texts))], texts)
    scores = score_retrieval(Sphere(3), images, said, (1, 2, 5))
    similarity = images.points.astype(np.float64) @ said.points.T
    own = rows[:, None] == texts
    for direction, table, mine in (("i2t", similarity, own), ("t2i", similarity.T, own.T)):
        ks = (1, 2, 5)
        assert scores.metrics[direction] == pytest.approx(naive(table, mine, ks))
