"""Distillation losses against naive loops in float64, and who gets a gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from limbeck.losses import (
    cross_relational_kd,
    feature_distance,
    radius_mse,
    relational_kd,
    squared_distance,
)


def random(*shape: int, seed: int = 0, grad: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def kl_of_rows(student: np.ndarray, teacher: np.ndarray) -> float:
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p, q = np.exp(t) / np.exp(t).sum(), np.exp(s) / np.exp(s).sum()
        total += sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(student)


def test_relations_by_loops() -> None:
    a, b, t = 3 * random(5, 5), 3 * random(5, 5, seed=1), 2 * random(5, 5, seed=2)
    x, y, z = a.numpy(), b.numpy(), t.numpy()
    both = (kl_of_rows(x, z) + kl_of_rows(x.T, z.T)) / 2
    assert float(relational_kd(a, t)) == pytest.approx(both, abs=1e-12)
    crossed = (kl_of_rows(x, z) + kl_of_rows(y, z.T)) / 2
    assert float(cross_relational_kd(a, b, t)) == pytest.approx(crossed, abs=1e-12)


def test_relation_is_zero_where_the_rows_agree() -> None:
    t = 50 * random(4, 4)
    assert float(relational_kd(t, t)) == pytest.approx(0, abs=1e-12)
    assert float(relational_kd(t + 7, t)) == pytest.approx(0, abs=1e-12)  # a softmax does not see a shift
    assert float(relational_kd(-t, t)) > 1
    assert torch.isfinite(relational_kd(1e4 * torch.eye(3), -1e4 * torch.eye(3)))


def test_match_and_radius_by_loops() -> None:
    a, b = random(6, 4), random(6, 4, seed=1)
    gaps = [
        sum((p - q) ** 2 for p, q in zip(x, y, strict=True))
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert squared_distance(a, b).tolist() == pytest.approx(gaps)
    image, text = squared_distance(a, b), squared_distance(b, a + 1)
    assert float(feature_distance(image, text)) == pytest.approx(float(image.mean()) + float(text.mean()))
    r, s = random(6).abs(), random(6, seed=1).abs()
    wanted = np.mean([(x - y) ** 2 for x, y in zip(r.tolist(), s.tolist(), strict=True)])
    assert float(radius_mse(r, s)) == pytest.approx(wanted)
    assert float(radius_mse(r, r)) == 0


@pytest.mark.parametrize(
    "loss",
    [
        relational_kd,
        lambda x, t: cross_relational_kd(x, 2 * x, t),
        lambda x, t: radius_mse(x[0], t[0]),
        lambda x, t: feature_distance(squared_distance(x, t), squared_distance(2 * x, t)),
    ],
)
def test_gradients(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    x, t = random(4, 4, grad=True), random(4, 4, seed=3)
    assert torch.autograd.gradcheck(lambda x: loss(x, t), (x,))


def test_no_gradient_reaches_the_teacher() -> None:
    x, t = random(4, 4, grad=True), random(4, 4, seed=3, grad=True)
    (relational_kd(x, t) + cross_relational_kd(x, x.T, t) + radius_mse(x[0], t[0])).backward()
    assert t.grad is None
    assert x.grad is not None
