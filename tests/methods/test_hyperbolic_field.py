"""ARGENT, ATMG and Hyper3 against their equations in float64, and trained from pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_meru_oracle import aperture, contrastive, distance, exterior

from hmid_runs import BAG, FEATURES, POLAR, SPHERE, built, recipe
from limbeck.losses import adaptive_entailment, radius_floor
from limbeck.methods import Method, TrainState
from limbeck.training import train
from raising import raises_code

STATE = TrainState(5, 10, 0, 0)
ANGLE = POLAR | {"logit": "angle"}


def wide(place: Path, name: str, lift: dict[str, Any] = POLAR, **options: Any) -> tuple[Method, Any]:
    """A method in float64 and the outputs of one batch, moved to the radii of trained models."""
    method, batch = built(recipe(place, {"name": name, **options}, lift, patch_size=8))
    outputs = method.encode_batch(batch)
    generator = torch.Generator().manual_seed(3)
    spread = outputs.map(lambda x: x.detach().double() + torch.randn(x.shape, generator=generator))
    return method.double(), spread


def outside(specific: torch.Tensor, general: torch.Tensor, c: Any, scale: float) -> torch.Tensor:
    """Hyper3's E: the second point roots the cone."""
    return (exterior(general, specific, c) - scale * aperture(general, c)).clamp(min=0).mean()


def test_argent(place: Path) -> None:
    method, out = wide(place, "argent", entailment=0.5, norm=2.0, low=2.8, entailment_warmup=0.8)
    c, tau = method.encoder.lift.curv.detach(), method.encoder.lift.logit_scale.detach()
    apart = distance(out.text, out.image, c)
    weight = apart / (apart + apart.mean())
    radius = torch.asinh(c.sqrt() * out.text.norm(dim=-1))
    wanted = {
        "contrastive": contrastive(out.image, out.text, c, tau),
        "entailment": (weight * exterior(out.text, out.image, c)).mean(),
        "norm": (2.8 - radius).clamp(min=0).square().mean(),
    }
    losses = method.loss(out, STATE)
    assert wanted["norm"] > 0
    for name, value in wanted.items():
        assert float(losses.parts[name]) == pytest.approx(float(value), rel=1e-6), name
    warm = 5 / (0.8 * 10)
    total = wanted["contrastive"] + 0.5 * warm * wanted["entailment"] + 2 * wanted["norm"]
    assert losses.value == pytest.approx(float(total), rel=1e-6)


def test_atmg(place: Path) -> None:
    method, out = wide(place, "atmg", ANGLE, entailment=0.5, entailment_warmup=0.8)
    c, tau = method.encoder.lift.curv.detach(), method.encoder.lift.logit_scale.detach()
    rows = []
    for image, text in zip(out.image, out.text, strict=True):
        own = len(rows) // 2
        at_image, at_text = tau * exterior(image, out.text, c), -tau * exterior(text, out.image, c)
        rows += [torch.logsumexp(logits, 0) - logits[own] for logits in (at_image, at_text)]
    along = (exterior(out.text, out.image, c) - exterior(out.image, out.text, c)).mean()
    losses = method.loss(out, STATE)
    assert float(losses.parts["contrastive"]) == pytest.approx(float(torch.stack(rows).mean()), rel=1e-6)
    assert float(losses.parts["entailment"]) == pytest.approx(float(along), rel=1e-6)
    warm = 5 / (0.8 * 10)
    assert losses.value == pytest.approx(float(torch.stack(rows).mean() + 0.5 * warm * along), rel=1e-6)
    nearer = (out.text.norm(dim=-1) < out.image.norm(dim=-1)).double().mean()
    assert float(losses.monitors["text_nearer"]) == pytest.approx(float(nearer))


def test_atmg_is_ranked_by_what_it_trained(place: Path) -> None:
    """The score of search and evaluation is the sum of a pair's logits, where the text is nearer."""
    method, out = wide(place, "atmg", ANGLE)
    lift = method.encoder.lift
    image, text = 3 * out.image, 0.3 * out.text
    trained = lift.pairwise_angle(image, text) - lift.pairwise_angle(text, image).T
    torch.testing.assert_close(lift.logits(image, text), lift.logit_scale * trained)
    score = torch.from_numpy(lift.space.similarity(image.float().numpy(), text.float().numpy()))
    torch.testing.assert_close(score.double(), trained.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lift", [POLAR, SPHERE])
def test_atmg_needs_a_lift_that_ranks_by_angles(place: Path, lift: dict[str, Any]) -> None:
    with raises_code("E-CONFIG-VALUE", "atmg", "lift.logit: angle"):
        built(recipe(place, {"name": "atmg"}, lift, patch_size=8))


def test_near_pairs_are_not_pushed_apart() -> None:
    """The weight falls with the distance, and carries no gradient."""
    angle = torch.tensor([1.0, 1.0], requires_grad=True)
    apart = torch.tensor([1e-6, 2.0], requires_grad=True)
    adaptive_entailment(angle, apart).backward()
    assert apart.grad is None
    assert angle.grad is not None and angle.grad[0] < 1e-5 < 0.2 < angle.grad[1]


def test_the_floor_of_the_radius() -> None:
    radius = torch.tensor([0.1, 0.5, 2.0], requires_grad=True)
    loss = radius_floor(radius, 0.5)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.16 / 3)
    assert radius.grad is not None and radius.grad[0] < 0 == radius.grad[1] == radius.grad[2]


def test_hyper3(place: Path) -> None:
    method, out = wide(place, "hyper3", entailment=0.4, phrase=0.25, across=0.6, within=1.3)
    c, tau = method.encoder.lift.curv.detach(), method.encoder.lift.logit_scale.detach()
    wanted = {
        "contrastive": contrastive(out.image, out.text, c, tau),
        "entailment": outside(out.image, out.text, c, 0.6),
        "phrases": outside(out.part, out.phrase, c, 0.6)
        + outside(out.image, out.part, c, 1.3)
        + outside(out.text, out.phrase, c, 1.3),
    }
    losses = method.loss(out, STATE)
    for name, value in wanted.items():
        assert float(losses.parts[name]) == pytest.approx(float(value), rel=1e-6), name
    total = wanted["contrastive"] + 0.4 * (wanted["entailment"] + 0.25 * wanted["phrases"])
    assert losses.value == pytest.approx(float(total), rel=1e-6)


def test_a_phrase_belongs_to_the_text_that_is_drawn(place: Path) -> None:
    _, batch = built(recipe(place, {"name": "hyper3"}, patch_size=8))
    assert set(batch.inputs) == {"image", "text", "phrase"}
    method, _ = built(recipe(place, {"name": "hyper3"}, patch_size=8))
    assert not any(name.startswith("pooling") for name in method.encoder.state_dict())


@pytest.mark.parametrize(("name", "lift"), [("argent", POLAR), ("hyper3", POLAR), ("atmg", ANGLE)])
def test_training_on_pixels(place: Path, tmp_path: Path, name: str, lift: dict[str, Any]) -> None:
    run = train(recipe(place, {"name": name}, lift, patch_size=8, steps=2), out=tmp_path / "run", quiet=True)
    assert (run / "model").is_dir() or any(run.rglob("model.safetensors"))


def test_hyper3_needs_patches(place: Path) -> None:
    tree = recipe(place, {"name": "hyper3"}) | {"towers": {"image": FEATURES, "text": BAG}}
    with raises_code("E-CONFIG-VALUE", "hyper3", "clip_image"):
        built(tree)
