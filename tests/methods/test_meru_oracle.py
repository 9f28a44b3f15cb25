"""MERU against its published equations (Desai et al. 2023), written down in float64 as they stand.

acosh, asin and acos have their derivatives in float64, too: values and gradients are compared. The places
where these forms have no digits (equal points, the origin, the apex of a cone) are left to tests/geometry.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from limbeck.encoders.config import BagConfig, FeaturesConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import EuclidConfig, SphereConfig, TangentConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.geometry import lorentz
from limbeck.losses import entailment, info_nce
from limbeck.methods import METHODS, Method, Setup, TrainState
from limbeck.methods.base import Embeddings

PAIRS, WIDTH, DIM = 16, 10, 8
STATE = TrainState(0, 10, 0, 0)


# ------------------------------------------------------------------------------ the published equations
def time(x: torch.Tensor, c: Any) -> torch.Tensor:
    return (1 / c + x.square().sum(-1)).sqrt()


def inner(x: torch.Tensor, y: torch.Tensor, c: Any) -> torch.Tensor:
    return (x * y).sum(-1) - time(x, c) * time(y, c)


def distance(x: torch.Tensor, y: torch.Tensor, c: Any) -> torch.Tensor:
    return torch.acosh(-c * inner(x, y, c)) / c**0.5


def aperture(x: torch.Tensor, c: Any) -> torch.Tensor:
    return torch.asin(2 * 0.1 / (c**0.5 * x.norm(dim=-1)))


def exterior(x: torch.Tensor, y: torch.Tensor, c: Any) -> torch.Tensor:
    w = c * inner(x, y, c)
    return torch.acos((time(y, c) + time(x, c) * w) / (x.norm(dim=-1) * (w**2 - 1).sqrt()))


def exp_map(u: torch.Tensor, c: Any, cap: float) -> torch.Tensor:
    r = c**0.5 * u.norm(dim=-1, keepdim=True)
    return torch.sinh(r.clamp(max=cap)) / r * u


def contrastive(image: torch.Tensor, text: torch.Tensor, c: Any, tau: Any) -> torch.Tensor:
    rows = []
    for anchors, others in ((image, text), (text, image)):
        for i, anchor in enumerate(anchors):
            scores = torch.stack([-tau * distance(anchor, other, c) for other in others])
            rows.append(torch.logsumexp(scores, 0) - scores[i])
    return torch.stack(rows).mean()


def entails(image: torch.Tensor, text: torch.Tensor, c: Any) -> torch.Tensor:
    return (exterior(text, image, c) - aperture(text, c)).clamp(min=0).mean()


class Published:
    """Parameters of a tangent lift, in float64 leaves, and MERU's loss from the towers' features."""

    def __init__(self, lift: Any) -> None:
        self.cap = lift.config.max_radius
        self.leaves = {
            name: p.detach().double().clone().requires_grad_() for name, p in lift.named_parameters()
        }

    def point(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        matrix = self.leaves[f"heads.{modality}.projection.weight"]
        alpha = self.leaves[f"heads.{modality}.log_alpha"].exp()
        return exp_map(alpha * features @ matrix.T, self.leaves["log_curv"].exp(), self.cap)

    def parts(self, image: torch.Tensor, text: torch.Tensor) -> dict[str, torch.Tensor]:
        c, tau = self.leaves["log_curv"].exp(), self.leaves["log_logit_scale"].exp()
        x, y = self.point(image, "image"), self.point(text, "text")
        return {"contrastive": contrastive(x, y, c, tau), "entailment": entails(x, y, c)}


# ------------------------------------------------------------------------------ what is judged
def meru(curv: float, *, max_radius: float = 4.0, **options: Any) -> Method:
    """MERU on towers whose features are WIDTH wide."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    towers = {}
    for modality, backbone, items in (
        ("image", FeaturesConfig(name="cnn"), rng.standard_normal((20, WIDTH))),
        ("text", BagConfig(), [f"w{i} w{i + 1}" for i in range(WIDTH - 1)]),
    ):
        towers[modality] = Tower(TowerConfig(backbone=backbone), modality)
        towers[modality].fit(items, seed=0)
        assert towers[modality].dim == WIDTH
    config = TangentConfig(dim=DIM, curv=curv, max_radius=max_radius)
    lift: Any = build_lift(config, {"image": WIDTH, "text": WIDTH})
    lift.heads["text"].load_state_dict(lift.heads["image"].state_dict())  # matching pairs then lie near
    encoder = DualEncoder(towers["image"], towers["text"], lift)
    return METHODS["meru"](encoder, METHODS["meru"].Config(**options), Setup(0, 0))


def features(seed: int, curv: float, radius: float) -> dict[str, torch.Tensor]:
    """Float32 features of matching pairs, the text's the picture's, disturbed and shorter.

    Pictures lie about ``radius`` / sqrt(curv) from the origin, texts outside the apex of the cones.
    """
    generator = torch.Generator().manual_seed(seed)
    length = radius / (0.8 * math.sqrt(curv))
    image = length * torch.randn(PAIRS, WIDTH, generator=generator)
    noise = torch.linspace(0.02, 0.35, PAIRS)[:, None]  # the first pictures lie in their cones
    text = 0.7 * image + noise * length * torch.randn(PAIRS, WIDTH, generator=generator)
    return {"image": image, "text": text}


def gap(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest error, relative to the largest value."""
    return float((found.double() - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(((found.detach().double() - wanted.detach()) / wanted.detach()).abs().max())


CURVATURES = [0.1, 1.0, 10.0]


@pytest.mark.parametrize("curv", CURVATURES)
@pytest.mark.parametrize("seed", range(3))
def test_functions_in_float64(curv: float, seed: int) -> None:
    """Distances, aperture, exterior angle, both losses: 1e-6 relative, and their gradients."""
    generator = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(2, PAIRS, DIM, generator=generator, dtype=torch.float64), dim=-1)
    radii = 0.3 + 4 * torch.rand(2, PAIRS, 1, generator=generator, dtype=torch.float64)
    x, y = (torch.sinh(radii) * directions / math.sqrt(curv)).unbind()
    for points in (x, y):
        points.requires_grad_()
    table = torch.stack([distance(row, y, curv) for row in x])
    ours = {
        "inner": lorentz.inner(x, y, curv),
        "distance": lorentz.distance(x, y, curv),
        "pairwise": lorentz.pairwise_distance(x, y, curv),
        "aperture": lorentz.half_aperture(x, curv),
        "exterior": lorentz.exterior_angle(x, y, curv),
        "pairwise exterior": lorentz.pairwise_exterior_angle(x, y, curv),
        "contrastive": info_nce(-14.0 * lorentz.pairwise_distance(x, y, curv)),
        "entailment": entailment(lorentz.exterior_angle(y, x, curv) - lorentz.half_aperture(y, curv)),
    }
    theirs = {
        "inner": inner(x, y, curv),
        "distance": distance(x, y, curv),
        "pairwise": table,
        "aperture": aperture(x, curv),
        "exterior": exterior(x, y, curv),
        "pairwise exterior": torch.stack([exterior(row, y, curv) for row in x]),
        "contrastive": contrastive(x, y, curv, 14.0),
        "entailment": entails(x, y, curv),
    }
    for name, found in ours.items():
        assert found.dtype == torch.float64, name
        assert relative(found, theirs[name]) < 1e-6, name
        wanted = torch.autograd.grad(theirs[name].sum(), (x, y), retain_graph=True, allow_unused=True)
        slopes = torch.autograd.grad(found.sum(), (x, y), retain_graph=True, allow_unused=True)
        for slope, other in zip(slopes, wanted, strict=True):
            assert (slope is None) == (other is None)
            assert slope is None or other is None or gap(slope, other) < 1e-6, name


@pytest.mark.parametrize("curv", CURVATURES)
@pytest.mark.parametrize("radius", [1.0, 2.0, 3.6])
def test_objective_in_float64(curv: float, radius: float) -> None:
    """The method's own objective on float64 points: value and gradients to 1e-6."""
    method = meru(curv).double()
    lift: Any = method.encoder.lift
    given = {m: f.double().requires_grad_() for m, f in features(1, curv, radius).items()}
    oracle = Published(lift)
    points = {m: oracle.point(f, m).detach().requires_grad_() for m, f in given.items()}
    losses = method.loss(Embeddings(**points), STATE)
    c, tau = oracle.leaves["log_curv"].exp(), oracle.leaves["log_logit_scale"].exp()
    parts = {
        "contrastive": contrastive(points["image"], points["text"], c, tau),
        "entailment": entails(points["image"], points["text"], c),
    }
    for name, wanted in parts.items():
        assert relative(losses.parts[name], wanted) < 1e-6, name
    total = parts["contrastive"] + 0.2 * parts["entailment"]
    assert losses.value == pytest.approx(float(total.detach()), rel=1e-6)
    leaves = [points["image"], points["text"]]
    scalars = ["log_curv", "log_logit_scale"]
    found = torch.autograd.grad(losses.total, [*leaves, *(getattr(lift, s) for s in scalars)])
    wanted_grads = torch.autograd.grad(total, [*leaves, *(oracle.leaves[s] for s in scalars)])
    for own, other in zip(found, wanted_grads, strict=True):
        assert gap(own, other) < 1e-6


@pytest.mark.parametrize("curv", CURVATURES)
@pytest.mark.parametrize("radius", [1.0, 2.0, 3.6])
def test_method_in_float32_from_the_features(curv: float, radius: float) -> None:
    """Lift and objective as they run: within the limits of float32, for every gradient of the lift too."""
    method = meru(curv)
    lift: Any = method.encoder.lift
    given = {m: f.requires_grad_() for m, f in features(2, curv, radius).items()}
    reps = Embeddings(**{m: lift(f, m) for m, f in given.items()})
    assert {r.dtype for r in reps.tensors().values()} == {torch.float32}
    losses = method.loss(reps, STATE)
    losses.total.backward()
    oracle = Published(lift)
    exact = {m: f.detach().double().requires_grad_() for m, f in given.items()}
    parts = oracle.parts(exact["image"], exact["text"])
    total = parts["contrastive"] + 0.2 * parts["entailment"]
    total.backward()
    for name, wanted in parts.items():
        assert relative(losses.parts[name], wanted) < 2e-5, name
    assert losses.value == pytest.approx(float(total.detach()), rel=2e-5)
    pairs = [(f.grad, exact[m].grad) for m, f in given.items()]
    pairs += [(p.grad, oracle.leaves[name].grad) for name, p in lift.named_parameters()]
    for own, other in pairs:  # of scalars, the sum of many terms of either sign, 1e-5 is left
        assert own is not None
        assert float((own.double() - other).abs().max()) < 1e-4 * float(other.abs().max()) + 1e-5
    if radius == 1.0:
        assert 0 < float(losses.monitors["cone_share"]) < 1
    if radius == 3.6:
        assert float(losses.monitors["cap_share/image"]) > 0  # the cap is part of what is compared


@pytest.mark.parametrize("kind", ["sphere", "euclid"])
def test_without_cones_the_weight_must_be_zero(kind: str) -> None:
    """And is then no more than the contrast."""
    lift = build_lift({"sphere": SphereConfig, "euclid": EuclidConfig}[kind](dim=4), {"image": 4, "text": 4})
    encoder: Any = torch.nn.Module()
    encoder.lift = lift
    rows = F.normalize(torch.from_numpy(np.random.default_rng(0).standard_normal((2, 6, 4))).float(), dim=-1)
    reps = Embeddings(image=rows[0], text=rows[1])
    kind_of = METHODS["meru"]
    losses = kind_of(encoder, kind_of.Config(entailment=0.0), Setup(0, 0)).loss(reps, STATE)  # type: ignore[call-arg]
    assert set(losses.parts) == {"contrastive"}
    assert losses.value == pytest.approx(float(info_nce(lift.logits(rows[0], rows[1]))))
    with pytest.raises(LimbeckError, match=r"no entailment cones.* or set entailment to 0"):
        kind_of(encoder, kind_of.Config(), Setup(0, 0)).loss(reps, STATE)


def test_entailment_weight_and_its_warm_up() -> None:
    given = features(3, 1.0, 1.0)
    for options, step, weight in (
        ({}, 0, 0.2),
        ({"entailment": 0.0}, 5, 0.0),
        ({"entailment": 0.4, "entailment_warmup": 0.5}, 0, 0.0),
        ({"entailment": 0.4, "entailment_warmup": 0.5}, 2, 0.16),
        ({"entailment": 0.4, "entailment_warmup": 0.5}, 7, 0.4),
    ):
        method = meru(1.0, **options)
        reps = Embeddings(**{m: method.encoder.lift(f, m) for m, f in given.items()})
        losses = method.loss(reps, TrainState(step, 10, 0, 0))
        parts = {name: float(value) for name, value in losses.parts.items()}
        assert parts["entailment"] > 0
        assert losses.value == pytest.approx(parts["contrastive"] + weight * parts["entailment"], rel=1e-6)


def test_monitors() -> None:
    method = meru(1.0)
    lift: Any = method.encoder.lift
    reps = Embeddings(**{m: lift(f, m) for m, f in features(4, 1.0, 1.0).items()})
    found = {n: float(v.detach()) for n, v in method.loss(reps, STATE).monitors.items()}
    image, text = (rows.detach().double() for rows in (reps.image, reps.text))
    inside = (exterior(text, image, 1.0) <= aperture(text, 1.0)).double().mean()
    assert found["cone_share"] == pytest.approx(float(inside))
    table = torch.stack([distance(row, text, 1.0) for row in image])
    assert found["batch_accuracy"] == pytest.approx(
        float((table.argmin(1) == torch.arange(PAIRS)).double().mean())
    )
    assert found["radius/text"] == pytest.approx(float(torch.asinh(text.norm(dim=1)).mean()), rel=1e-5)
    assert {"curv", "logit_scale", "cap_share/image", "cap_share/text", "radius/image"} <= set(found)


def test_polar_lift_serves_the_same_objective() -> None:
    """Only the lift differs: on the same points both give the same loss."""
    method = meru(1.0)
    reps = Embeddings(**{m: method.encoder.lift(f, m).detach() for m, f in features(5, 1.0, 1.0).items()})
    before = method.loss(reps, STATE).value
    from limbeck.encoders.lift_config import PolarConfig

    method.encoder.lift = build_lift(PolarConfig(dim=DIM), {"image": WIDTH, "text": WIDTH})
    assert method.loss(reps, STATE).value == pytest.approx(before, rel=1e-6)
