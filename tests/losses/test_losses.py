"""Losses against naive loops in float64, and their gradients by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from limbeck.losses import (
    at_patches,
    bit_balance,
    code_mse,
    entailment,
    info_nce,
    interactive_kd,
    linear_warmup,
    pairwise_likelihood,
    quantization,
    resample_grid,
    shared_label,
)
from raising import raises_code


def random(*shape: int, seed: int = 0, grad: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def test_info_nce_by_loops() -> None:
    logits = 3 * random(5, 5)
    x = logits.numpy()
    rows = [-x[i, i] + np.log(sum(np.exp(x[i, j]) for j in range(5))) for i in range(5)]
    columns = [-x[i, i] + np.log(sum(np.exp(x[j, i]) for j in range(5))) for i in range(5)]
    assert float(info_nce(logits)) == pytest.approx((sum(rows) + sum(columns)) / 10, abs=1e-12)
    assert float(info_nce(torch.zeros(7, 7))) == pytest.approx(np.log(7))
    assert float(info_nce(1e4 * torch.eye(4))) == 0.0


def test_shared_label_by_loops() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((6, 4)) < 0.4, rng.random((5, 4)) < 0.4
    expected = [[float(any(p and q for p, q in zip(x, y, strict=True))) for y in b] for x in a]
    found = shared_label(torch.from_numpy(a.astype(np.float32)), torch.from_numpy(b.astype(np.float32)))
    assert found.dtype == torch.float32
    assert found.tolist() == expected
    assert shared_label(torch.zeros(2, 3), torch.ones(2, 3)).sum() == 0


def test_pairwise_likelihood_by_loops() -> None:
    theta = 4 * random(4, 6)
    similar = (random(4, 6, seed=1) > 0).double()
    terms = [
        np.log1p(np.exp(t)) - s * t
        for row, own in zip(theta.tolist(), similar.tolist(), strict=True)
        for t, s in zip(row, own, strict=True)
    ]
    assert float(pairwise_likelihood(theta, similar)) == pytest.approx(np.mean(terms), abs=1e-12)
    extreme = torch.tensor([[1000.0, -1000.0]])
    assert float(pairwise_likelihood(extreme, torch.tensor([[1.0, 0.0]]))) == 0.0
    assert float(pairwise_likelihood(extreme, torch.tensor([[0.0, 1.0]]))) == pytest.approx(1000.0)


def test_code_terms_by_loops() -> None:
    u, codes, w = random(5, 3).tanh(), random(5, 3, seed=1).sign(), random(5, 3, seed=2).tanh()
    x, c, y = u.numpy(), codes.numpy(), w.numpy()
    cells = [(i, j) for i in range(5) for j in range(3)]
    assert float(quantization(u, codes)) == pytest.approx(
        np.mean([(c[i, j] - x[i, j]) ** 2 for i, j in cells])
    )
    assert float(code_mse(u, w)) == pytest.approx(np.mean([(x[i, j] - y[i, j]) ** 2 for i, j in cells]))
    means = [sum(x[i, j] for i in range(5)) / 5 for j in range(3)]
    assert float(bit_balance(u)) == pytest.approx(np.mean(np.square(means)))
    even = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert float(bit_balance(even)) == 0.0
    assert float(quantization(even, even)) == 0.0


def test_entailment_is_the_mean_of_what_lies_outside() -> None:
    assert float(entailment(torch.tensor([0.5, -1.0, 0.0, 0.25]))) == pytest.approx(0.75 / 4)
    assert float(entailment(torch.tensor([-0.1, -3.0]))) == 0.0
    excess = random(20).requires_grad_()
    entailment(excess).backward()
    assert excess.grad is not None
    expected = [1 / 20 if x > 0 else 0.0 for x in excess.tolist()]
    assert excess.grad.tolist() == pytest.approx(expected)
    assert torch.isnan(entailment(torch.tensor([float("nan"), -1.0])))


def test_ramp_rises_and_stays() -> None:
    assert [linear_warmup(step, 10, 0.5) for step in range(10)] == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1]
    )
    assert [linear_warmup(step, 4, 1.0) for step in range(4)] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert [linear_warmup(step, 10, 0.0) for step in (0, 9)] == [1.0, 1.0]


def test_interaction_by_loops() -> None:
    a, b = 3 * random(5, 5), 3 * random(5, 5, seed=1)
    terms = []
    for table in (a.tolist(), b.tolist()):
        terms += [np.log(sum(np.exp(x) for x in row)) - row[i] for i, row in enumerate(table)]
    assert float(interactive_kd(a, b)) == pytest.approx(sum(terms) / 10, abs=1e-12)
    assert float(interactive_kd(a, a.T)) == pytest.approx(float(info_nce(a)), abs=1e-12)
    assert float(interactive_kd(torch.zeros(7, 7), torch.zeros(7, 7))) == pytest.approx(np.log(7))


def test_at_patches_picks_rows_of_each_picture() -> None:
    features, chosen = random(3, 6, 4, grad=True), torch.tensor([[5, 0], [1, 2], [3, 3]])
    found = at_patches(features, chosen)
    assert found.shape == (3, 2, 4)
    for i, row in enumerate(chosen.tolist()):
        for k, patch in enumerate(row):
            assert torch.equal(found[i, k], features[i, patch])
    found.sum().backward()
    assert features.grad is not None
    assert features.grad[2, 3].tolist() == [2.0] * 4
    assert float(features.grad[0, 1].abs().sum()) == 0.0
    assert at_patches(features, torch.zeros(3, 0, dtype=torch.long)).shape == (3, 0, 4)


def grid(features: torch.Tensor, side: int) -> np.ndarray:
    return features.detach().numpy().reshape(len(features), side, side, -1)


@pytest.mark.parametrize(("side", "factor"), [(2, 2), (2, 3), (3, 2), (1, 4)])
def test_resample_to_a_finer_grid_is_bilinear(side: int, factor: int) -> None:
    """The value at a fine centre is that of the bilinear surface through coarse centres, held at edges."""
    features = random(2, side**2, 3)
    coarse, fine = grid(features, side), side * factor
    found = grid(resample_grid(features, fine**2), fine)
    for i in range(fine):
        for j in range(fine):
            at = [min(max((k + 0.5) / factor - 0.5, 0), side - 1) for k in (i, j)]
            low = [min(int(p), side - 1) for p in at]
            high = [min(p + 1, side - 1) for p in low]
            u, v = at[0] - low[0], at[1] - low[1]
            expected = (
                (1 - u) * (1 - v) * coarse[:, low[0], low[1]]
                + (1 - u) * v * coarse[:, low[0], high[1]]
                + u * (1 - v) * coarse[:, high[0], low[1]]
                + u * v * coarse[:, high[0], high[1]]
            )
            np.testing.assert_allclose(found[:, i, j], expected, atol=1e-12)


@pytest.mark.parametrize(("side", "factor"), [(4, 2), (6, 3), (8, 2), (4, 4)])
def test_resample_to_a_coarser_grid_is_a_triangle_average(side: int, factor: int) -> None:
    """Weights fall linearly to 0 one coarse patch from its centre: a triangle filter, normalised at edges."""
    features = random(2, side**2, 3)
    fine, coarse = grid(features, side), side // factor
    found = grid(resample_grid(features, coarse**2), coarse)
    centres = (np.arange(side) + 0.5) / factor - 0.5
    weights = np.maximum(0, 1 - np.abs(centres[None] - np.arange(coarse)[:, None]))
    weights /= weights.sum(1, keepdims=True)
    expected = np.einsum("ai,bj,nijd->nabd", weights, weights, fine)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_resample_keeps_constants_order_and_gradients() -> None:
    for patches, wanted in ((4, 16), (16, 4), (9, 4), (16, 9)):
        constant = torch.full((1, patches, 2), 3.5, dtype=torch.float64)
        assert resample_grid(constant, wanted).flatten().tolist() == pytest.approx([3.5] * wanted * 2)
    same = random(2, 9, 3)
    assert resample_grid(same, 9) is same
    rising = torch.arange(16.0).reshape(1, 16, 1)  # raster order: rows first
    small = resample_grid(rising, 4).flatten().tolist()
    assert small[1] - small[0] == pytest.approx(small[3] - small[2])
    assert small[2] - small[0] == pytest.approx(4 * (small[1] - small[0]))
    assert torch.autograd.gradcheck(lambda x: resample_grid(x, 4), (random(1, 9, 2, grad=True),))


@pytest.mark.parametrize(("patches", "wanted"), [(6, 4), (4, 6)])
def test_grids_that_are_not_square_are_one_line(patches: int, wanted: int) -> None:
    with raises_code("E-ARRAY-SHAPE", patches, wanted):
        resample_grid(random(1, patches, 2), wanted)


SIMILAR = (random(4, 4, seed=9) > 0).double()
CODES = random(4, 3, seed=8).sign()


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: info_nce(a @ b.T),
        lambda a, b: pairwise_likelihood(a @ b.T, SIMILAR),
        lambda a, b: quantization(a, CODES) + quantization(b, CODES),
        lambda a, b: bit_balance(a) * bit_balance(b),
        lambda a, b: code_mse(a, b),
        lambda a, b: interactive_kd(a @ b.T, b @ a.T),
        lambda a, b: entailment(a * b),
    ],
    ids=[
        "info_nce",
        "pairwise_likelihood",
        "quantization",
        "bit_balance",
        "code_mse",
        "interaction",
        "cone",
    ],
)
def test_gradients(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    inputs = (random(4, 3, seed=1, grad=True), random(4, 3, seed=2, grad=True))
    assert torch.autograd.gradcheck(loss, inputs)
