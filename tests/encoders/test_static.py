"""The static text tower: its mean by hand, int8 rows, the ridge against a dense solution, export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from limbeck.encoders.config import StaticConfig, TokenizerConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.static import StaticBackbone, StaticTable, token_weights
from limbeck.encoders.static_fit import (
    fit_table,
    invented,
    ridge,
    token_counts,
    train_wordpiece,
    weighted_shares,
    whole_words,
)
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.onnx import OnnxEncoder
from tiny_encoder import pixel_encoder

TEXTS = ["red dog", "a red red car", "dog"]


def tower(config: StaticConfig, seed: int = 0) -> tuple[StaticBackbone, StaticTable]:
    """A tower over the words of `TEXTS` and the float table that it was given."""
    backbone = StaticBackbone(config)
    backbone.use(train_wordpiece(TEXTS * 3, 60))
    rng = np.random.default_rng(seed)
    size = backbone.tokenizer.get_vocab_size()
    out = None if config.rank is None else rng.standard_normal((config.dim, config.rank)).astype(np.float32)
    table = StaticTable(
        rng.standard_normal((size, config.rank or config.dim)).astype(np.float32),
        rng.random(size).astype(np.float32),
        rng.standard_normal(config.dim).astype(np.float32),
        out,
    )
    backbone.set_table(table)
    return backbone.eval(), table


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("rank", [None, 2])
def test_the_weighted_mean_by_hand(storage: str, rank: int | None) -> None:
    backbone, table = tower(StaticConfig.model_validate({"dim": 5, "rank": rank, "storage": storage}))
    with torch.no_grad():
        found = backbone(backbone.collate([*TEXTS, ""])).numpy()
    for text, row in zip(TEXTS, found, strict=False):
        ids = backbone.tokenizer.encode(text).ids
        mean = np.average(table.rows[ids], axis=0, weights=table.weight[ids])
        wanted = table.bias + (mean if table.map is None else table.map @ mean)
        # Half a step of the coarsest row, through a map of norm at most 4.
        step = np.abs(table.rows).max() / 127 / 2 * 4 if storage == "int8" else 1e-5
        np.testing.assert_allclose(row, wanted, atol=step)
    np.testing.assert_allclose(found[-1], table.bias, atol=1e-6)


def test_a_text_has_the_same_vector_in_any_batch() -> None:
    backbone, _ = tower(StaticConfig(dim=5, storage="int8"))
    assert not backbone.worth_caching
    long = " ".join(["red"] * 40)
    with torch.no_grad():
        alone = backbone(backbone.collate(["red dog"]))
        beside = backbone(backbone.collate(["red dog", long]))[:1]
    torch.testing.assert_close(alone, beside, rtol=0, atol=1e-6)


def test_the_ridge_is_the_dense_solution() -> None:
    rng = np.random.default_rng(0)
    a = (rng.random((40, 12)) * (rng.random((40, 12)) < 0.3) * np.geomspace(1, 50, 12)).astype(np.float32)
    y = rng.standard_normal((40, 3)).astype(np.float32)
    wanted = np.linalg.solve(a.T.astype(float) @ a + 0.2 * np.eye(12), a.T.astype(float) @ y)
    np.testing.assert_allclose(ridge(csr_matrix(a), y, 0.2, error=1e-6), wanted, atol=1e-4)


def test_a_table_of_lower_rank_is_the_nearest() -> None:
    """By Eckart and Young its fitted values miss those of the full table by the smaller singular values."""
    rng = np.random.default_rng(1)
    counts = csr_matrix(rng.integers(0, 3, (50, 9)).astype(np.float32))
    targets = rng.standard_normal((50, 6)).astype(np.float32)
    full = fit_table(counts, targets, penalty=0.1, rank=None)
    low = fit_table(counts, targets, penalty=0.1, rank=2)
    assert low.map is not None
    shares = weighted_shares(counts, full.weight)
    fitted, nearest = shares @ full.rows, shares @ low.rows @ low.map.T
    missed = np.linalg.svd(fitted.astype(float), compute_uv=False)[2:]
    assert np.linalg.norm(fitted - nearest) == pytest.approx(np.linalg.norm(missed), rel=1e-3)


def test_weights_fall_with_frequency_and_unseen_tokens_have_none() -> None:
    weights = token_weights(np.array([0, 1, 999]))
    np.testing.assert_allclose(weights, [0, 0.909, 0.01], rtol=1e-1)


@pytest.mark.parametrize(
    "tokens",
    [
        ["cat", "##ish", "[PAD]", "of", "Red"],
        ["ish", "cat</w>", "red</w>"],
        ["ish", "\u2581cat", "\u2581red"],
    ],
)
def test_whole_words_of_each_kind_of_vocabulary(tokens: list[str]) -> None:
    assert whole_words({token: i for i, token in enumerate(tokens)}) == ["cat", "red"]


def test_invented_phrases_follow_their_seed() -> None:
    phrases = invented(["cat", "red"], 30, 3)
    assert phrases == invented(["cat", "red"], 30, 3) != invented(["cat", "red"], 30, 4)
    assert {word for text in phrases for word in text.split()} == {"cat", "red", "a", "photo", "of"}
    assert {len(text.split()) for text in phrases[2::3]} <= set(range(5, 11))


def test_counts_are_of_tokens() -> None:
    tokenizer = train_wordpiece(TEXTS * 3, 60)
    counts = token_counts(tokenizer, [*TEXTS, ""])
    assert counts.toarray()[1][tokenizer.token_to_id("red")] == 2
    assert counts[3].nnz == 0


def with_static(storage: str) -> DualEncoder:
    """A model with a static text tower."""
    model = pixel_encoder()
    backbone, _ = tower(StaticConfig.model_validate({"dim": 4, "storage": storage}))
    text = Tower(TowerConfig(backbone=backbone.config), "text")
    text.backbone = backbone
    return DualEncoder(model.towers["image"], text, model.lift).eval()


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_saved_and_exported_it_gives_the_same_vectors(storage: str, tmp_path: Path) -> None:
    model = with_static(storage)
    model.save(tmp_path / "m")
    model.save_onnx(tmp_path / "m")
    wanted = model.encode_text(TEXTS)
    assert np.array_equal(DualEncoder.load(tmp_path / "m").encode_text(TEXTS), wanted)
    onnx = OnnxEncoder.open(tmp_path / "m")
    assert onnx is not None
    np.testing.assert_allclose(onnx.encode_text(TEXTS), wanted, atol=1e-5)
    with pytest.raises(LimbeckError, match="the model knows none of its words"):
        onnx.check_query("zzz")


def test_the_graph_holds_the_table_in_eight_bits(tmp_path: Path) -> None:
    import onnx

    with_static("int8").save_onnx(tmp_path)
    graph = onnx.load(str(tmp_path / "onnx/text/model.onnx")).graph
    table = next(one for one in graph.initializer if one.name.endswith("table"))
    assert table.data_type == onnx.TensorProto.INT8


def test_a_float_table_is_trained_and_an_int8_one_is_not() -> None:
    words = TokenizerConfig(vocabulary_size=20)
    backbone = StaticBackbone(StaticConfig(dim=3, rank=2, tokenizer=words))
    backbone.fit(TEXTS * 3, seed=0)
    assert backbone(backbone.collate(TEXTS)).shape == (3, 3)
    backbone(backbone.collate(["dog"])).sum().backward()
    gradient = backbone.table.grad
    assert gradient is not None
    assert set(torch.nonzero(gradient.abs().sum(1))[:, 0].tolist()) == {
        token for token in backbone.tokenizer.encode("dog").ids
    }
    with pytest.raises(LimbeckError, match="an int8 table is not trained"):
        StaticBackbone(StaticConfig(storage="int8")).fit(TEXTS, seed=0)
