"""Masks: constant size, the same for the same draw, every patch alike where they are random."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from limbeck.encoders.masking import MaskConfig, attended_keep, block_keep, drawn, dropped, kept, random_keep
from raising import raises_code

DRAWS = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.floats(0, 0.99), DRAWS)
def test_rows_are_rising_of_one_size_and_complete(patches: int, ratio: float, draws: list[int]) -> None:
    keep = random_keep(patches, ratio, draws)
    assert keep.dtype == torch.int64
    assert keep.shape == (len(draws), kept(patches, ratio))
    away = dropped(keep, patches)
    for stay, go in zip(keep.tolist(), away.tolist(), strict=True):
        assert stay == sorted(set(stay))
        assert go == sorted(set(range(patches)) - set(stay))
    alone = torch.cat([random_keep(patches, ratio, [d]) for d in draws])
    assert torch.equal(alone, keep)  # a row depends on its own draw alone


def test_how_many_stay() -> None:
    assert [kept(64, r) for r in (0, 0.5, 0.75, 0.99)] == [64, 32, 16, 1]
    assert kept(1, 0.9) == 1
    assert torch.equal(random_keep(5, 0, [7, 8]), torch.arange(5).expand(2, -1))


def scalar_keep(patches: int, count: int, draw: int) -> list[int]:
    """SplitMix64 one number at a time, in Python's integers."""
    full = 2**64 - 1

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & full
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & full
        return x ^ (x >> 31)

    state, ranks = mix(draw ^ 0x6D61736B70617463), []
    for _ in range(patches):
        state = (state + 0x9E3779B97F4A7C15) & full
        ranks.append(mix(state))
    return sorted(sorted(range(patches), key=ranks.__getitem__)[:count])


def test_numbers_are_those_of_splitmix64() -> None:
    draws = [0, 1, 2**62 + 12345, 2**63 - 1]
    assert random_keep(49, 0.75, draws).tolist() == [scalar_keep(49, 12, draw) for draw in draws]


@pytest.mark.parametrize("draws", [range(20_000), np.random.default_rng(0).integers(2**63, size=20_000)])
def test_every_patch_stays_equally_often(draws: np.ndarray) -> None:
    keep = random_keep(16, 0.75, draws)
    share = torch.bincount(keep.flatten(), minlength=16) / len(keep)
    assert (share - 0.25).abs().max() < 5 * (0.25 * 0.75 / len(keep)) ** 0.5
    # Pairs too: no patch draws another one along.
    both = torch.zeros(len(keep), 16).scatter_(1, keep, 1)
    together = both.T @ both / len(keep)
    pairs = torch.stack([together[i, j] for i, j in itertools.combinations(range(16), 2)])
    wanted = 4 * 3 / (16 * 15)
    assert (pairs - wanted).abs().max() < 5 * (wanted * (1 - wanted) / len(keep)) ** 0.5


def test_the_mask_says_nothing_about_the_crop_of_the_same_draw() -> None:
    keep = random_keep(16, 0.5, range(4000))
    crops = torch.stack([torch.rand(5, generator=torch.Generator().manual_seed(d)) for d in range(4000)])
    seen = torch.zeros(4000, 16).scatter_(1, keep, 1)
    correlation = torch.corrcoef(torch.cat([seen, crops], 1).T)[:16, 16:]
    assert correlation.abs().max() < 5 / 4000**0.5


def test_bad_masks_are_refused() -> None:
    for ratio in (-0.1, 1, 1.5):
        with pytest.raises(ValidationError, match="ratio"):
            MaskConfig(ratio=ratio)
    with pytest.raises(ValidationError, match="kind"):
        MaskConfig.model_validate({"kind": "blocks"})
    with pytest.raises(ValidationError, match="views: 1 or a ratio above 0"):
        MaskConfig(ratio=0, views=2)
    with pytest.raises(ValidationError, match="views: 1 or kind: random"):
        MaskConfig(kind="attentive", views=2)
    assert MaskConfig(ratio=0).ratio == 0


# ------------------------------------------------------------------------------ blocks, views, attention
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.floats(0, 0.99), DRAWS)
def test_blocks_leave_as_many_as_chance(grid: int, ratio: float, draws: list[int]) -> None:
    keep = block_keep(grid**2, ratio, draws)
    assert keep.dtype == torch.int64
    assert keep.shape == (len(draws), kept(grid**2, ratio))
    assert all(row == sorted(set(row)) and row[-1] < grid**2 for row in keep.tolist())
    assert torch.equal(torch.cat([block_keep(grid**2, ratio, [d]) for d in draws]), keep)


def borders(keep: torch.Tensor, grid: int) -> float:
    """Mean number of neighbours of which one is kept and one is not."""
    seen = torch.zeros(len(keep), grid**2).scatter_(1, keep, 1).reshape(-1, grid, grid)
    return float((seen.diff(dim=1).abs().sum() + seen.diff(dim=2).abs().sum()) / len(keep))


def test_blocks_are_connected_and_reach_everywhere() -> None:
    block, chance = block_keep(196, 0.5, range(500)), random_keep(196, 0.5, range(500))
    assert borders(block, 14) < 0.5 * borders(chance, 14)
    share = torch.zeros(500, 196).scatter_(1, block, 1).mean(0)
    assert 0.1 < float(share.min()) < float(share.max()) < 0.95
    with raises_code("E-CONFIG-VALUE", "12 patches"):
        block_keep(12, 0.5, [1])


def test_what_is_drawn() -> None:
    draws = list(range(200))
    plain = drawn(MaskConfig(ratio=0.5), 16, draws)
    assert list(plain) == ["keep"]
    assert torch.equal(plain["keep"], random_keep(16, 0.5, draws))
    assert drawn(MaskConfig(ratio=0), 16, draws) == {}
    assert drawn(MaskConfig(kind="attentive"), 16, draws) == {}
    for kind in ("random", "block"):
        two = drawn(MaskConfig.model_validate({"kind": kind, "views": 2}), 16, draws)
        seen = [torch.zeros(200, 16).scatter_(1, two[n], 1) for n in ("keep", "keep_again")]
        both = float((seen[0] * seen[1]).sum(1).mean())
        assert 3.6 < both < 4.9  # of 8 and 8 of 16 patches, 4 if the views are independent and uniform


def test_the_most_attended_stay() -> None:
    attention = torch.tensor([[0.1, 0.4, 0.2, 0.05], [0.3, 0.1, 0.1, 0.4]])
    assert attended_keep(attention, 0.5).tolist() == [[1, 2], [0, 3]]
    assert attended_keep(attention, 0.9).tolist() == [[1], [3]]
