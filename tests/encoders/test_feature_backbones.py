"""Feature backbones against float64 numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.config import BagConfig, FeaturesConfig, MultiHotConfig
from limbeck.encoders.features import BagBackbone, FeatureBackbone, MultiHotBackbone, words
from limbeck.errors import LimbeckError
from raising import raises_code

TEXTS = ["Red cat, red dog", "a CAT", "the dog sleeps", "ÉTÉ straße 7", "", "red red red"]


def run(backbone: Backbone, items: object) -> np.ndarray:
    with torch.no_grad():
        return backbone(backbone.collate(items)).numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("pca", [None, 4, 99])
def test_features_are_standardised(log1p: bool, pca: int | None) -> None:
    rng = np.random.default_rng(0)
    train = np.abs(rng.standard_normal((50, 7)) * [1, 2, 3, 4, 5, 6, 7]).astype(np.float32)
    new = np.abs(rng.standard_normal((5, 7))).astype(np.float32)
    backbone = FeatureBackbone(FeaturesConfig(name="cnn", log1p=log1p, pca=pca))
    backbone.fit(train, seed=0)
    assert backbone.reads == "features:cnn"

    def prepared(x: np.ndarray) -> np.ndarray:
        return np.log1p(x.astype(np.float64)) if log1p else x.astype(np.float64)

    mean = prepared(train).mean(0)
    x, y = prepared(train) - mean, prepared(new) - mean
    if pca:
        vt = np.linalg.svd(x, full_matrices=False)[2]
        directions = vt[: min(pca, 7)].T
        directions *= np.sign(directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])])
        x, y = x @ directions, y @ directions
    scale = np.sqrt((x**2).mean())
    assert backbone.dim == x.shape[1]
    np.testing.assert_allclose(run(backbone, train), x / scale, atol=1e-5)
    np.testing.assert_allclose(run(backbone, new), y / scale, atol=1e-5)
    assert np.square(run(backbone, train)).mean() == pytest.approx(1.0, abs=1e-5)


def test_features_that_do_not_fit_are_one_line() -> None:
    backbone = FeatureBackbone(FeaturesConfig(name="cnn", log1p=True))
    with raises_code("E-ARRAY-VALUES", "features:"):
        backbone.fit(np.array([[1.0, -2.0]]), seed=0)
    backbone.fit(np.ones((3, 4), np.float32), seed=0)
    with raises_code("E-ARRAY-SHAPE", "features:"):
        backbone.collate(np.ones((2, 3), np.float32))
    with raises_code("E-ARRAY-VALUES", "features:"):
        backbone.collate(np.full((2, 4), -1, np.float32))
    assert np.isfinite(run(backbone, np.ones((2, 4), np.float32))).all()  # constant features


def test_bag_of_words_is_normalised_and_centred() -> None:
    backbone = BagBackbone(BagConfig())
    backbone.fit(TEXTS, seed=0)
    counts = {w: sum(w in words(t) for t in TEXTS) for t in TEXTS for w in words(t)}
    vocabulary = sorted(counts, key=lambda w: (-counts[w], w))
    assert backbone.vocabulary == vocabulary
    assert "strasse" in vocabulary  # case folding
    raw = np.array([[words(t).count(w) for w in vocabulary] for t in TEXTS], np.float64)
    raw /= np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
    centred = raw - raw.mean(0)
    expected = centred / np.sqrt((centred**2).mean())
    np.testing.assert_allclose(run(backbone, TEXTS), expected, atol=1e-5)
    unknown = run(backbone, ["nothing known", ""])
    np.testing.assert_array_equal(unknown[0], unknown[1])


def test_bag_of_words_keeps_the_most_frequent() -> None:
    small = BagBackbone(BagConfig(vocabulary_size=2))
    small.fit(TEXTS, seed=0)
    assert small.vocabulary == ["cat", "dog"]
    often = BagBackbone(BagConfig(min_count=2))
    often.fit(TEXTS, seed=0)
    assert often.vocabulary == ["cat", "dog", "red"]
    reordered = BagBackbone(BagConfig())
    reordered.fit(TEXTS[::-1], seed=1)
    original = BagBackbone(BagConfig())
    original.fit(TEXTS, seed=0)
    assert reordered.vocabulary == original.vocabulary


def test_bag_of_words_refuses_what_means_nothing() -> None:
    backbone = BagBackbone(BagConfig())
    with raises_code("E-DATA-TEXT", "text:"):
        backbone.fit(["", "... !"], seed=0)
    backbone.fit(TEXTS, seed=0)
    backbone.check_query("an unknown RED thing")
    with pytest.raises(LimbeckError, match="the model knows none of its words"):
        backbone.check_query("zebra")


def test_multihot_reads_names_in_any_order() -> None:
    names = [["b", "a"], ["c"], ["a"], []]
    backbone = MultiHotBackbone(MultiHotConfig())
    backbone.fit(names, seed=0)
    assert backbone.classes == ["a", "b", "c"]
    raw = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]], np.float64)
    expected = (raw - raw.mean(0)) / np.sqrt(((raw - raw.mean(0)) ** 2).mean())
    np.testing.assert_allclose(run(backbone, names), expected, atol=1e-6)
    np.testing.assert_array_equal(run(backbone, [["a", "b", "new"]]), run(backbone, [["b", "a"]]))


@pytest.mark.parametrize("kind", ["features", "bag", "multihot"])
def test_assets_and_weights_bring_a_backbone_back(tmp_path: Path, kind: str) -> None:
    items: object
    if kind == "features":
        make, items = (lambda: FeatureBackbone(FeaturesConfig(name="x", pca=3))), np.random.rand(9, 5)
    elif kind == "bag":
        make, items = (lambda: BagBackbone(BagConfig())), TEXTS
    else:
        make, items = (lambda: MultiHotBackbone(MultiHotConfig())), [["a"], ["b", "c"]]
    backbone: Backbone = make()
    backbone.fit(items, seed=0)  # type: ignore[arg-type]
    backbone.save_assets(tmp_path)
    again: Backbone = make()
    again.load_assets(tmp_path)
    again.load_state_dict(backbone.state_dict())
    assert again.dim == backbone.dim
    np.testing.assert_array_equal(run(again, items), run(backbone, items))
    assert backbone.frozen
    assert backbone.worth_caching == (kind == "features")  # of these one multiplies
