"""ARGENT, ATMG, HyCoCLIP, UNCHA and Hyper3 against their equations in float64, and trained from pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from test_meru_oracle import aperture, contrastive, distance, exterior

from hmid_runs import BAG, FEATURES, POLAR, SPHERE, built, recipe
from limbeck.data.pairs import Pairs
from limbeck.encoders.transforms import random_part
from limbeck.losses import adaptive_entailment, calibration, radius_floor
from limbeck.methods import Method, TrainState
from limbeck.training import train
from raising import raises_code
from tiny import CLASSES, write_protocol

STATE = TrainState(5, 10, 0, 0)
ANGLE = POLAR | {"logit": "angle"}
TRAINED = [
    (name, ANGLE if name == "atmg" else POLAR) for name in ("argent", "atmg", "hycoclip", "uncha", "hyper3")
]


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


def one_way(rows: torch.Tensor, others: torch.Tensor, c: Any, tau: Any) -> torch.Tensor:
    """Cross-entropy of each row with its own other."""
    scores = -tau * torch.stack([distance(row, others, c) for row in rows])
    return (scores.logsumexp(1) - scores.diagonal()).mean()


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


def test_hycoclip(place: Path) -> None:
    method, out = wide(place, "hycoclip", entailment=0.4, across=0.6, within=1.3)
    c, tau = method.encoder.lift.curv.detach(), method.encoder.lift.logit_scale.detach()
    parts = one_way(out.part, out.text, c, tau) + one_way(out.phrase, out.image, c, tau)
    order = (
        outside(out.image, out.text, c, 0.6)
        + outside(out.part, out.phrase, c, 0.6)
        + outside(out.image, out.part, c, 1.3)
        + outside(out.text, out.phrase, c, 1.3)
    )
    whole = contrastive(out.image, out.text, c, tau)
    losses = method.loss(out, STATE)
    for name, value in {"contrastive": whole, "parts": parts, "entailment": order}.items():
        assert float(losses.parts[name]) == pytest.approx(float(value), rel=1e-6), name
    total = whole / 2 + parts / 4 + 0.4 * order / 2
    assert losses.value == pytest.approx(float(total), rel=1e-6)


def test_uncha(place: Path) -> None:
    """Written down from the authors' code, with one part per picture and without its clamps."""
    method, out = wide(place, "uncha", entailment=0.4, across=0.6, within=1.3, slope=0.2, calibration=3.0)
    c, tau = method.encoder.lift.curv.detach(), method.encoder.lift.logit_scale.detach()
    u = {name: torch.log1p((-getattr(out, name).norm(dim=-1)).exp()) for name in ("part", "phrase")}

    def residual(specific: torch.Tensor, general: torch.Tensor, scale: float) -> torch.Tensor:
        angle = exterior(general, specific, c)
        over = angle - scale * aperture(general, c)
        return torch.where(over > 0, over + 0.2 * angle, 0.2 * angle)

    def calibrated(residual: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        share = u.exp() / u.exp().sum()
        return (0.5 * residual / u.exp() + 0.5 * u - (share * share.log()).sum()).mean()

    pictures, texts = residual(out.image, out.part, 1.3), residual(out.text, out.phrase, 1.3)
    wanted = {
        "contrastive": contrastive(out.image, out.text, c, tau),
        "parts": contrastive(out.part, out.phrase, c, 20.0),
        "whole": one_way(out.part, out.text, c, (-u["part"] / 2).exp()[:, None] / 0.06)
        + one_way(out.phrase, out.image, c, (-u["phrase"] / 2).exp()[:, None] / 0.06),
        "across": (residual(out.image, out.text, 0.6) + residual(out.part, out.phrase, 0.6)).mean(),
        "within": (pictures + texts).mean(),
        "calibration": calibrated(pictures, u["part"]) + calibrated(texts, u["phrase"]),
    }
    losses = method.loss(out, STATE)
    for name, value in wanted.items():
        assert float(losses.parts[name]) == pytest.approx(float(value), rel=1e-6), name
    total = wanted["contrastive"] + wanted["parts"] + wanted["whole"] / 2
    order = wanted["across"] / 2 + wanted["within"] / 4 + 3 * wanted["calibration"]
    assert losses.value == pytest.approx(float(total + 0.4 * order), rel=1e-6)


def test_calibration_moves_radii_and_not_cones() -> None:
    """Without the entropy, the best log uncertainty is the log of the residual."""
    residual = torch.tensor([0.5, 2.0], requires_grad=True)
    u = residual.detach().log().requires_grad_()
    share = u.softmax(0)
    (calibration(residual, u) + (share * share.log()).sum()).backward()
    assert residual.grad is None
    torch.testing.assert_close(u.grad, torch.zeros(2))


def test_a_part_lies_in_the_picture_that_is_shown() -> None:
    """Part and whole are drawn with one seed: what the part shows, the crop shows, too."""
    place = np.indices((40, 60)).transpose(1, 2, 0).astype(np.uint8)
    picture = Image.fromarray(np.concatenate([place, place[..., :1]], axis=2))
    sizes = set()
    for seed in range(30):
        part = np.asarray(random_part(picture, (0.2, 0.5), torch.Generator().manual_seed(seed)))
        whole = np.asarray(random_part(picture, (0.6, 1.0), torch.Generator().manual_seed(seed)))
        for axis in (0, 1):
            assert whole[..., axis].min() <= part[..., axis].min()
            assert part[..., axis].max() <= whole[..., axis].max()
        assert 0.15 < part[..., 0].size / picture.width / picture.height < 0.55
        sizes.add(part.shape)
    assert len(sizes) > 10


def test_a_part_is_drawn_for_each_step(place: Path) -> None:
    _, batch = built(recipe(place, {"name": "hycoclip"}, patch_size=8))
    assert set(batch.inputs) == {"image", "text", "phrase", "part"}
    part, whole = batch.inputs["part"]["pixels"], batch.inputs["image"]["pixels"]
    assert part.shape == whole.shape and not torch.equal(part, whole)
    _, again = built(recipe(place, {"name": "hycoclip"}, patch_size=8))
    torch.testing.assert_close(again.inputs["part"]["pixels"], part, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["hycoclip", "uncha"])
def test_parts_need_pixels(place: Path, name: str) -> None:
    tree = recipe(place, {"name": name}) | {"towers": {"image": FEATURES, "text": BAG}}
    with raises_code("E-CONFIG-VALUE", "features", "clip_image"):
        built(tree)


def test_parts_are_ordered(place: Path) -> None:
    with raises_code("E-CONFIG-VALUE", "part", "min <= max"):
        built(recipe(place, {"name": "hycoclip", "part": [0.5, 0.2]}, patch_size=8))


@pytest.mark.parametrize("name", ["hyper3", "hycoclip", "uncha"])
def test_texts_without_phrases(place: Path, tmp_path: Path, name: str) -> None:
    """A data set of single words has no phrase by rule: said before anything is trained."""
    columns = pq.read_table(place / "pairs" / "pairs.parquet").to_pydict()
    columns["captions"] = [["dog"] for _ in columns["id"]]
    media = {"kind": "folder", "root": str(place / "media")}
    Pairs.write(tmp_path / "pairs", columns, {"media": media, "label_names": list(CLASSES)})
    write_protocol(tmp_path, "retrieval")
    with raises_code("E-DATA-TEXT", "pairs", "phrase", "meru"):
        built(recipe(tmp_path, {"name": name}, patch_size=8))


def test_a_phrase_belongs_to_the_text_that_is_drawn(place: Path) -> None:
    _, batch = built(recipe(place, {"name": "hyper3"}, patch_size=8))
    assert set(batch.inputs) == {"image", "text", "phrase"}
    method, _ = built(recipe(place, {"name": "hyper3"}, patch_size=8))
    assert not any(name.startswith("pooling") for name in method.encoder.state_dict())


@pytest.mark.parametrize(("name", "lift"), TRAINED)
def test_training_on_pixels(place: Path, tmp_path: Path, name: str, lift: dict[str, Any]) -> None:
    run = train(recipe(place, {"name": name}, lift, patch_size=8, steps=2), out=tmp_path / "run", quiet=True)
    assert (run / "model").is_dir() or any(run.rglob("model.safetensors"))


def test_hyper3_needs_patches(place: Path) -> None:
    tree = recipe(place, {"name": "hyper3"}) | {"towers": {"image": FEATURES, "text": BAG}}
    with raises_code("E-CONFIG-VALUE", "hyper3", "clip_image"):
        built(tree)
