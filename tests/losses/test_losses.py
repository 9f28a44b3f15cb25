"""Losses against naive loops in float64, and their gradients by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from limbeck.losses import agreement, bit_balance, info_nce, pairwise_likelihood, quantization, shared_label


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
    assert float(agreement(u, w)) == pytest.approx(np.mean([(x[i, j] - y[i, j]) ** 2 for i, j in cells]))
    means = [sum(x[i, j] for i in range(5)) / 5 for j in range(3)]
    assert float(bit_balance(u)) == pytest.approx(np.mean(np.square(means)))
    even = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert float(bit_balance(even)) == 0.0
    assert float(quantization(even, even)) == 0.0


SIMILAR = (random(4, 4, seed=9) > 0).double()
CODES = random(4, 3, seed=8).sign()


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: info_nce(a @ b.T),
        lambda a, b: pairwise_likelihood(a @ b.T, SIMILAR),
        lambda a, b: quantization(a, CODES) + quantization(b, CODES),
        lambda a, b: bit_balance(a) * bit_balance(b),
        lambda a, b: agreement(a, b),
    ],
    ids=["info_nce", "pairwise_likelihood", "quantization", "bit_balance", "agreement"],
)
def test_gradients(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    inputs = (random(4, 3, seed=1, grad=True), random(4, 3, seed=2, grad=True))
    assert torch.autograd.gradcheck(loss, inputs)
