"""The static text tower: its mean by hand, packed rows, the ridge against a dense solution, export."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from limbeck.encoders.config import StaticConfig, TokenizerConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.packed_rows import levels, pack, rounded, weighted_sum
from limbeck.encoders.static import Ball, Correction, StaticBackbone, StaticTable, token_weights
from limbeck.encoders.static_fit import (
    ball_of,
    fit_table,
    invented,
    invented_tags,
    ridge,
    token_counts,
    train_wordpiece,
    vocabulary,
    weighted_shares,
    whole_words,
)
from limbeck.encoders.static_refine import refine
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.onnx import OnnxEncoder
from limbeck.preprocess.text import UNKNOWN
from tiny_encoder import pixel_encoder

TEXTS = ["red dog", "a red red car", "dog"]
BALL = Ball(np.array([1, 0, 0, -1, 2], np.float32), 3.0)
FINE = 7


def packed(dim: int = 5, ball: Ball | None = None, units: int = 0) -> tuple[StaticBackbone, StaticTable]:
    """A packed tower over the words of `TEXTS` and the table that it was given."""
    backbone = StaticBackbone(StaticConfig(dim=dim, fine=FINE, units=units, ball=ball is not None))
    backbone.use(train_wordpiece(TEXTS * 3, 60))
    rng = np.random.default_rng(0)
    size = backbone.tokenizer.get_vocab_size()
    rows, bias = rng.standard_normal((size, dim)).astype(np.float32), rng.standard_normal(dim)
    weight = rng.random(size).astype(np.float32)
    shapes = ((units, dim), (units,), (dim, units))
    # Halves and quarters are exact in half floats.
    correction = Correction(*(rng.integers(-4, 5, shape).astype(np.float32) / 4 for shape in shapes))
    table = StaticTable(rows, weight, bias.astype(np.float32), ball, correction if units else None)
    backbone.set_table(table)
    return backbone.eval(), table


def test_packed_rows_are_the_nearest_levels() -> None:
    rows = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.1], [20.0]] * 3)
    for bits, error in ((4, 0.0115), (2, 0.1188)):  # of the optimal uniform quantizer (Max 1960)
        level, step = levels(rows, bits)
        assert level.min() >= 0
        assert level.max() < 2**bits
        inside = (rows / step).abs() < 2 ** (bits - 1)
        assert ((rounded(rows, bits) - rows).abs() <= step / 2 + 1e-5)[inside].all()
        many = torch.randn(400, 384, generator=torch.Generator().manual_seed(1))
        assert (rounded(many, bits) - many).square().mean() == pytest.approx(error, rel=0.02)


def test_packed_numbers_are_summed_without_unpacking() -> None:
    assert pack(torch.tensor([[3.0, 0.0, 1.0, 2.0]])).tolist() == [[0b10010011]]
    assert pack(torch.tensor([[3.0, 2.0, 1.0, 0.0, 1.0]])).tolist() == [[0b010111, 0b0010]]
    digits = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (2, 3, 8))).float()
    weight = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    packed_rows = torch.stack([pack(rows) for rows in digits])
    wanted = (weight[..., None] * (digits - 1.5)).sum(1)
    torch.testing.assert_close(weighted_sum(weight, packed_rows, 8), wanted, rtol=0, atol=1e-4)


def test_the_sum_of_a_long_text_keeps_its_digits() -> None:
    draw = np.random.default_rng(0)
    digits, weight = draw.integers(0, 4, (100, 384)), draw.random((1, 100), np.float32)
    found = weighted_sum(torch.from_numpy(weight), pack(torch.from_numpy(digits))[None], 384).numpy()
    np.testing.assert_allclose(found, weight.astype(np.float64) @ (digits - 1.5), atol=1e-4)  # of up to 18


@pytest.mark.parametrize(("ball", "units"), [(None, 0), (BALL, 0), (BALL, 3)])
def test_the_weighted_mean_by_hand(ball: Ball | None, units: int) -> None:
    backbone, table = packed(ball=ball, units=units)
    rows = torch.from_numpy(table.rows)
    stored = torch.cat([rounded(rows[:FINE], 4), rounded(rows[FINE:], 2)]).numpy()
    with torch.no_grad():
        found = backbone(backbone.collate([*TEXTS, ""])).numpy()
    seen = [backbone.tokenizer.encode(text).ids for text in TEXTS]
    assert min(map(min, seen)) < FINE <= max(map(max, seen))
    means = [np.average(stored[ids], axis=0, weights=table.weight[ids]) for ids in seen]
    means.append(np.zeros_like(table.bias))
    if (own := table.correction) is not None:
        assert any((own.inner @ mean + own.shift > 0).any() for mean in means)
        means = [mean + own.outer @ np.maximum(own.inner @ mean + own.shift, 0) for mean in means]
    wanted = [table.bias + mean for mean in means]
    if ball is not None:
        away = np.stack(wanted) - ball.centre
        wanted = ball.centre + ball.radius * away / np.linalg.norm(away, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 2])
def test_a_float_table_by_hand(rank: int | None) -> None:
    backbone = StaticBackbone(StaticConfig(dim=5, rank=rank, tokenizer=TokenizerConfig(vocabulary_size=20)))
    backbone.fit(TEXTS * 3, seed=0)
    ids, weight = backbone.tokenizer.encode("a red red car").ids, backbone.weight
    with torch.no_grad():
        mean = (weight[ids, None] * backbone.table[ids]).sum(0) / weight[ids].sum()
        wanted = mean if backbone.map is None else backbone.map.weight @ mean
        torch.testing.assert_close(backbone(backbone.collate(TEXTS))[1], wanted)


def test_a_text_has_the_same_vector_in_any_batch() -> None:
    backbone, _ = packed()
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


def test_refining_lowers_the_error_of_the_stored_table() -> None:
    """A teacher with weights that no frequency tells, behind a sphere."""
    rng = np.random.default_rng(0)
    counts = csr_matrix((rng.random((3000, 30)) < 0.15).astype(np.float32))
    true = StaticTable(
        rng.standard_normal((30, 8)).astype(np.float32),
        rng.uniform(0.1, 3, 30).astype(np.float32),
        rng.standard_normal(8).astype(np.float32),
    )
    raw = weighted_shares(counts, true.weight) @ true.rows + true.bias
    targets = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)

    def cosine(table: StaticTable) -> float:
        rows = torch.from_numpy(table.rows)
        stored = torch.cat([rounded(rows[:20], 4), rounded(rows[20:], 2)]).numpy()
        found = weighted_shares(counts, table.weight) @ stored + table.bias
        return float(((found * targets).sum(1) / np.linalg.norm(found, axis=1)).mean())

    table = fit_table(counts, targets, penalty=0.1)
    assert table.ball is not None
    better = refine(counts, targets, table, fine=20, epochs=60, seed=0)
    assert 1 - cosine(better) < 0.65 * (1 - cosine(table)) < 0.01


def test_the_sphere_of_targets_is_found_where_there_is_one() -> None:
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((40, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    found = ball_of((unit * 3 + [1, 2, 3, 4]).astype(np.float32))
    assert found is not None
    assert found.radius == pytest.approx(3, rel=1e-4)
    np.testing.assert_allclose(found.centre, [1, 2, 3, 4], atol=1e-3)
    assert ball_of(rng.standard_normal((40, 4)).astype(np.float32)) is None
    assert ball_of(unit[:6].astype(np.float32)) is None


def test_a_vocabulary_keeps_characters_and_frequent_tokens() -> None:
    large = train_wordpiece(TEXTS * 3, 60)
    small = vocabulary(TEXTS * 3, len("redogac") * 2 + 2 + len(string.printable), large)
    assert small.encode("red").tokens == ["red"]
    assert small.encode("a red dog").ids[1] == 0  # the most frequent token
    assert small.encode("dora").tokens == ["d", "##o", "##r", "##a"]
    assert small.encode("\u4e2d").tokens == [UNKNOWN]
    assert vocabulary(TEXTS, 8, large).get_vocab_size() == 8


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


def test_invented_texts_follow_their_seed() -> None:
    found = invented(["cat", "red"], ["one two", "three four"], 302, 3)
    assert found == invented(["cat", "red"], ["one two", "three four"], 302, 3)
    assert found != invented(["cat", "red"], ["one two", "three four"], 302, 4)
    assert found[:2] == ["cat", "red"]
    drawn = found[2:]
    assert {word for text in drawn[0::6] for word in text.split()} == {"a", "photo", "of", "cat", "red"}
    assert {len(text.split()) for text in drawn[2::6]} <= set(range(2, 9))
    assert any("catred" in text for text in drawn)
    assert {word for text in drawn[4::6] for word in text.split()} == {"one", "two", "three", "four"}
    assert any(text in ("three cat", "three red", "cat four", "red four") for text in drawn[5::6])
    assert invented(["cat", "red"], ["one"], 1, 0) == ["cat"]


def test_counts_are_of_tokens() -> None:
    tokenizer = train_wordpiece(TEXTS * 3, 60)
    counts = token_counts(tokenizer, [*TEXTS, ""])
    assert counts.toarray()[1][tokenizer.token_to_id("red")] == 2
    assert counts[3].nnz == 0


@pytest.mark.parametrize("ball", [None, Ball(BALL.centre[:4], 3.0)])
def test_saved_and_exported_it_gives_the_same_vectors(ball: Ball | None, tmp_path: Path) -> None:
    model = pixel_encoder()
    backbone, _ = packed(4, ball)
    text = Tower(TowerConfig(backbone=backbone.config), "text")
    text.backbone = backbone
    model = DualEncoder(model.towers["image"], text, model.lift).eval()
    model.save(tmp_path / "m")
    model.save_onnx(tmp_path / "m")
    wanted = model.encode_text(TEXTS)
    assert np.array_equal(DualEncoder.load(tmp_path / "m").encode_text(TEXTS), wanted)
    onnx = OnnxEncoder.open(tmp_path / "m")
    assert onnx is not None
    np.testing.assert_allclose(onnx.encode_text(TEXTS), wanted, atol=1e-5)
    with pytest.raises(LimbeckError, match="the model knows none of its words"):
        onnx.check_query("zzz")


def test_a_float_table_is_trained_and_a_packed_one_is_not() -> None:
    words = TokenizerConfig(vocabulary_size=20)
    backbone = StaticBackbone(StaticConfig(dim=3, rank=2, tokenizer=words))
    backbone.fit(TEXTS * 3, seed=0)
    backbone(backbone.collate(["dog"])).sum().backward()
    gradient = backbone.table.grad
    assert gradient is not None
    assert set(torch.nonzero(gradient.abs().sum(1))[:, 0].tolist()) == {
        token for token in backbone.tokenizer.encode("dog").ids
    }
    with pytest.raises(LimbeckError, match="a packed table is not trained"):
        StaticBackbone(StaticConfig(fine=3)).fit(TEXTS, seed=0)


def test_a_correction_learns_what_no_mean_tells() -> None:
    """A teacher whose first number is the product of two others."""
    rng = np.random.default_rng(0)
    counts = csr_matrix((rng.random((4000, 20)) < 0.2).astype(np.float32))
    shares = weighted_shares(counts, np.ones(20, np.float32))
    targets = shares @ rng.standard_normal((20, 6)).astype(np.float32) * 3
    targets[:, 0] += targets[:, 1] * targets[:, 2]
    table = fit_table(counts, targets, penalty=0.1)

    def error(units: int) -> float:
        found = refine(counts, targets, table, fine=19, epochs=40, seed=0, units=units)
        rows = torch.from_numpy(found.rows)
        stored = torch.cat([rounded(rows[:19], 4), rounded(rows[19:], 2)]).numpy()
        mean = weighted_shares(counts, found.weight) @ stored
        if found.correction is not None:
            own = found.correction
            mean = mean + np.maximum(mean @ own.inner.T + own.shift, 0) @ own.outer.T
        return float(np.square(mean + found.bias - targets).sum(1).mean())

    assert error(16) < 0.8 * error(0)


def test_lists_of_tags_are_made_up_of_the_vocabulary() -> None:
    vocabulary = {"red": 0, "dog": 1, "##ish": 2, "##o": 3, "q.q": 4, "[UNK]": 5}
    found = invented_tags(vocabulary, ["red", "dog"], 400, seed=1)
    assert found == invented_tags(vocabulary, ["red", "dog"], 400, seed=1)
    lengths = [len(line.split()) for line in found]
    assert {*lengths[:300]} == {*range(2, 15)} and {*lengths[300:]} == {1, 2, 3}
    tags = {tag for line in found for tag in line.split()}
    assert {"red", "dog", "reddog", "redanddog", "reddogred", "dogish", "redoish"} <= tags
    assert any(tag.isdigit() for tag in tags) and not any("." in tag or "[" in tag for tag in tags)
    # of a teacher without pieces, words follow words
    assert {"reddog"} <= {tag for line in invented_tags({}, ["red", "dog"], 50, 0) for tag in line.split()}


def test_units_belong_to_a_packed_table() -> None:
    with pytest.raises(ValueError, match="units belong to a table of limbeck distil-text"):
        StaticConfig(units=4)
