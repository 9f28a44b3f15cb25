"""The logits that a recipe may choose: distance, inner product, squared distance; what `init` takes over."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from limbeck.encoders.identity import identity
from limbeck.encoders.lift_config import EuclidConfig, PolarConfig, TangentConfig
from limbeck.encoders.lifts import build_lift
from limbeck.geometry import lorentz

DIMS = {"image": 12, "text": 10}


def features(modality: str, rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, DIMS[modality], generator=torch.Generator().manual_seed(len(modality)))


@pytest.mark.parametrize("config", [TangentConfig, PolarConfig])
def test_inner_product_in_float64(config: Any) -> None:
    torch.manual_seed(0)
    lift: Any = build_lift(config(dim=8, curv=0.5, logit="inner"), DIMS)
    a, b = (lift(features(m), m).detach() for m in ("image", "text"))
    x, y, c, tau = a.double(), b.double(), 0.5, 1 / 0.07
    time = [(1 / c + p.square().sum(1)).sqrt() for p in (x, y)]
    inner = x @ y.T - torch.outer(*time)
    torch.testing.assert_close(lift.logits(a, b).double(), tau * (c * inner + 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        lift.logits(a, b, torch.tensor(3.0)).double(), 3 * (c * inner + 1), rtol=1e-4, atol=1e-4
    )
    far = lorentz.pairwise_distance(a, b, c)
    assert torch.equal(lift.logits(a, b).argsort(1), (-far).argsort(1))  # the order is that of the distance


def test_the_default_logit_leaves_no_trace_in_a_hash() -> None:
    assert "logit" not in identity(TangentConfig().model_dump())
    assert identity(TangentConfig(logit="inner").model_dump())["logit"] == "inner"
    with pytest.raises(ValueError, match="logit"):
        TangentConfig.model_validate({"logit": "cosine"})


def test_euclid_in_float64() -> None:
    torch.manual_seed(0)
    lift: Any = build_lift(EuclidConfig(dim=8), DIMS)
    a, b = (lift(features(m), m) for m in ("image", "text"))
    x, y = a.detach().double(), b.detach().double()
    wanted = -(x[:, None] - y[None]).square().sum(-1) / 0.07
    torch.testing.assert_close(lift.logits(a, b).detach().double(), wanted, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(
        lift.distance(a, b).detach().double(), (x - y).norm(dim=1), rtol=1e-5, atol=1e-6
    )
    lift.space.check(lift.to_storage(a))
    assert torch.equal(lift.from_tangent(lift.to_tangent(a)), a)
    lift.logits(a, b).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in lift.parameters())


def test_euclid_has_a_gradient_where_points_meet_and_bounds_its_scale() -> None:
    lift: Any = build_lift(EuclidConfig(dim=4), DIMS)
    a = torch.ones(2, 4, requires_grad=True)
    lift.distance(a, a.detach().clone()).sum().backward()
    assert a.grad is not None and not a.grad.any()
    with torch.no_grad():
        for head in lift.heads.values():
            head.log_alpha.fill_(1.0)
    lift.clamp_()
    assert [float(h.log_alpha.detach()) for h in lift.heads.values()] == [0.0, 0.0]
    assert set(lift.monitors(image=a)) == {"logit_scale", "length/image"}


@pytest.mark.parametrize("config", [TangentConfig(dim=4), EuclidConfig(dim=4)])
def test_a_stage_that_starts_from_another_takes_its_scalars(config: Any) -> None:
    torch.manual_seed(0)
    one, two = build_lift(config, DIMS), build_lift(config, DIMS)
    with torch.no_grad():
        for parameter in one.parameters(recurse=False):
            parameter.add_(0.3)
    two.load_from(one, "text")
    found = dict(two.named_parameters(recurse=False))
    assert "log_logit_scale" in found
    for name, parameter in one.named_parameters(recurse=False):
        assert torch.equal(parameter, found[name])
    assert math.isclose(float(two.logit_scale.detach()), math.exp(0.3) / 0.07, rel_tol=1e-5)
