"""HMID-Net's hierarchy terms against their equations in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limbeck
from hmid_runs import SPHERE, built, hmid, kl, refused
from limbeck.encoders.masking import KEEP
from limbeck.losses import calibrated_cones, even_cones
from limbeck.methods import TrainState
from limbeck.methods.hmid_net.order_terms import hidden_further

POLAR = {"kind": "polar", "dim": 8}
ALL = {"cones": 0.5, "phrases": 0.3, "taught": 0.2, "angles": 0.1, "views": 0.4, "even": 0.6}


def cones(space: Any, general: np.ndarray, specific: np.ndarray, negatives: float, scale: float) -> float:
    """The loss, pair by pair, from the space's numpy half."""
    total, pairs = 0.0, len(general) * (len(general) - 1)
    for i, apex in enumerate(general):
        for j, point in enumerate(specific):
            margin = -float(space.cone_excess(apex, point))
            if i == j and space.rescore(apex[None], point[None])[0] < 1e-3:
                margin = half(space, apex)  # a cone contains its apex
            if i == j:
                total += scale * math.log1p(math.exp(-margin / scale)) / len(general)
            else:
                total += negatives * scale * math.log1p(math.exp(margin / scale)) / pairs
    return total


def half(space: Any, apex: np.ndarray) -> float:
    return float(np.arcsin(min(1.0, 0.2 / np.sqrt(space.curv * (apex**2).sum()))))


def test_terms_in_float64(place: Path, teachers: dict[str, Path]) -> None:
    order = ALL | {"share": 0.2, "scale": 0.2, "negatives": 3.0, "phrase_negatives": 0.7, "angle_scale": 0.3}
    method, batch = built(hmid(place, teachers["curved"], POLAR, order=order, target="none"))
    outputs = method.encode_batch(batch).map(torch.Tensor.detach)
    found = {n: float(v) for n, v in method.loss(outputs, TrainState(9, 10, 0, 0)).parts.items()}
    own, taught = method.encoder.space, limbeck.load(teachers["curved"]).space
    x = {name: rows.numpy() for name, rows in outputs.tensors().items()}

    def c(general: str, specific: str, negatives: float) -> float:
        return cones(own, x[general], x[specific], negatives, 0.2)

    def angles(space: Any, text: str, image: str) -> np.ndarray:
        return np.asarray(-space.exterior_angle(x[text][:, None], x[image][None]) / 0.3)

    theirs, mine = angles(taught, "native_text", "native_image"), angles(own, "text", "image")
    wanted = {
        "order_cones": c("text", "image", 3.0),
        "order_phrases": (c("phrase", "image", 0.7) + c("phrase", "text", 0.7)) / 2,
        "order_taught": (c("text", "teacher_image", 3.0) + c("teacher_text", "image", 3.0)) / 2,
        "order_angles": (kl(mine, theirs) + kl(mine.T, theirs.T)) / 2,
        "order_views": float(np.maximum(own.cone_excess(x["part"], x["image"]), 0).mean()),
    }
    margins = [
        float(own.exterior_angle(apex, point)) - half(own, apex) for apex in x["text"] for point in x["image"]
    ]
    wanted["order_even"] = float(np.mean([0.2 * m if m > 0 else -0.8 * m for m in margins]))
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-3), name


def test_weights_rise_with_the_entailment(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["curved"], POLAR, order={"cones": 0.5}, entailment=0.0))
    outputs = method.encode_batch(batch)
    first, last = (method.loss(outputs, TrainState(step, 10, 0, 0)) for step in (0, 9))
    assert last.value - first.value == pytest.approx(0.5 * float(last.parts["order_cones"]), rel=1e-4)
    assert "cone_share" in last.monitors


def test_gradients_reach_the_towers(place: Path) -> None:
    quiet = {"contrastive": 1e-9, "distillation": 0.0, "entailment": 0.0, "target": "none"}
    for name in ("cones", "phrases", "views"):
        method, batch = built(hmid(place, "none", POLAR, order={name: 1.0}, **quiet))
        method.loss(method.encode_batch(batch), TrainState(9, 10, 0, 0)).total.backward()
        tower = method.encoder.towers["image"]
        norms = [float(p.grad.norm()) for p in tower.parameters() if p.grad is not None]
        assert max(norms) > 1e-5 and all(map(math.isfinite, norms)), name


def test_even_cones_teach_the_apertures_alone() -> None:
    angles = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]] * 2, requires_grad=True)
    aperture = torch.tensor([0.05, 0.45], requires_grad=True)
    even_cones(angles, aperture, 0.5).backward()
    assert angles.grad is None
    assert aperture.grad is not None
    # Slope: (share inside - 0.5) / rows. A cone that holds too few points opens.
    assert aperture.grad.tolist() == pytest.approx([-0.25, 0.15])


def test_radii_only_leave_the_directions(place: Path) -> None:
    quiet = {"contrastive": 1e-9, "distillation": 0.0, "entailment": 0.0, "target": "none"}
    slopes = {}
    for radii_only in (False, True):
        order = {"cones": 1.0, "radii_only": radii_only}
        method, batch = built(hmid(place, "none", POLAR, order=order, **quiet))
        losses = method.loss(method.encode_batch(batch), TrainState(9, 10, 0, 0))
        losses.total.backward()
        slopes[radii_only] = {
            n: p.grad for n, p in method.encoder.lift.named_parameters() if p.grad is not None
        }
        slopes[radii_only]["value"] = losses.total.detach()
    direction, radius = "heads.text.direction.weight", "heads.text.radius.weight"
    assert slopes[True][direction].abs().max() < 1e-6 < slopes[False][direction].abs().max()
    assert slopes[True]["heads.image.radius.weight"].abs().max() < 1e-6
    torch.testing.assert_close(slopes[True][radius], slopes[False][radius], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(slopes[True]["value"], slopes[False]["value"])


def test_without_others_only_own_points_count() -> None:
    angles, aperture = torch.tensor([[0.2, 3.0], [3.0, 0.4]]), torch.tensor([0.3, 0.3])
    own = calibrated_cones(angles, aperture, 0.0, 0.1)
    wanted = 0.1 * (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert float(own) == pytest.approx(wanted, rel=1e-6)
    alone = calibrated_cones(angles[:1, :1], aperture[:1], 2.0, 0.1)
    assert float(alone) == pytest.approx(0.1 * math.log1p(math.exp(-1)), rel=1e-6)


def test_calibration_is_where_own_points_are_as_much_likelier() -> None:
    """With 2 as the weight of others the best aperture has density(own) = 2 density(others)."""
    aperture = torch.tensor(0.7, requires_grad=True)
    own, others = torch.linspace(0.2, 1.2, 40), torch.linspace(0.2, 2.2, 40)  # densities 1 and 1/2
    angles = others.expand(40, 40).clone()
    angles[range(40), range(40)] = own
    calibrated_cones(angles, aperture.expand(40), 2.0, 0.05).backward()
    assert aperture.grad is not None and abs(float(aperture.grad)) < 0.05


def test_hidden_further_is_a_part_of_the_view() -> None:
    keep = torch.tensor([[0, 3, 5, 9], [1, 2, 4, 8]])
    part = hidden_further({KEEP: keep, "pixel_values": torch.zeros(2, 3, 4, 4)})
    assert part[KEEP].tolist() == [[0, 5], [1, 4]] and part["pixel_values"].shape == (2, 3, 4, 4)


def test_refused(place: Path, teachers: dict[str, Path]) -> None:
    unmasked = hmid(
        place, teachers["curved"], POLAR, order={"views": 0.1}, mask={"ratio": 0.0}, target="none"
    )
    refused(unmasked, "order.views")
    flat = hmid(place, teachers["curved"], SPHERE, order={"cones": 0.1}, entailment=0.0)
    refused(flat, "no entailment cones")
