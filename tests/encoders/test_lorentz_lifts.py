"""The lifts into Lorentz space: their formulas, bounds, changes of space, and what they leave on disk."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from test_dual_encoder import FEATURES, TEXTS, build

import limbeck
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.identity import identity
from limbeck.encoders.lift_config import HashConfig, LiftConfig, PolarConfig, SphereConfig, TangentConfig
from limbeck.encoders.lifts import Lift, build_lift, lift_from_json
from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.errors import LimbeckError
from limbeck.spaces import Lorentz
from raising import raises_code

DIMS = {"image": 12, "text": 7}
KINDS = ["tangent", "polar"]


def lorentz(kind: str, *, curv: float = 1.0, dim: int = 6, **options: Any) -> Any:
    """Any, since most of what is asked here belongs to these lifts alone."""
    torch.manual_seed(0)
    config: Any = TypeAdapter(LiftConfig).validate_python({"kind": kind, "dim": dim, "curv": curv, **options})
    return build_lift(config, DIMS)


def spread(n: int = 40, *, seed: int = 0) -> torch.Tensor:
    """Features (n, 12) of lengths from 0.01 to 100."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 12, generator=generator) * torch.logspace(-2, 2, n)[:, None]


def points(*, curv: float, n: int = 30, dim: int = 6, longest: float = 3.0) -> torch.Tensor:
    """Points (n, dim) at radii 0.1 to ``longest``, in units of 1/sqrt(curv)."""
    generator = torch.Generator().manual_seed(n)
    directions = torch.nn.functional.normalize(torch.randn(n, dim, generator=generator), dim=1)
    return torch.sinh(torch.linspace(0.1, longest, n))[:, None] * directions / math.sqrt(curv)


def radii(lift: Any, x: torch.Tensor) -> np.ndarray:
    return np.asarray(lift.radius(x.detach()).detach())


# ------------------------------------------------------------------------------ formulas
@pytest.mark.parametrize("curv", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("cap", [4.0, 11.0])
def test_tangent_is_the_formula_of_meru(curv: float, cap: float) -> None:
    lift = lorentz("tangent", curv=curv, max_radius=cap)
    features = spread()
    head = lift.heads["image"]
    alpha = math.exp(float(head.log_alpha.detach()))
    assert alpha == pytest.approx(6**-0.5)
    u = alpha * features.double().numpy() @ head.projection.weight.detach().double().numpy().T
    c = float(lift.curv.detach().double())
    r = math.sqrt(c) * np.linalg.norm(u, axis=1, keepdims=True)
    expected = np.sinh(np.minimum(r, cap)) / r * u
    found = lift(features, "image").detach()
    assert found.dtype == torch.float32
    assert (r > cap).any()
    assert (r < cap / 10).any()
    error = np.linalg.norm(found.numpy() - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 1e-5
    radius = radii(lift, found)
    np.testing.assert_allclose(radius, np.minimum(r, cap)[:, 0], rtol=1e-4)


def test_alpha_is_never_above_one_and_comes_back() -> None:
    lift = lorentz("tangent")
    head, features = lift.heads["text"], torch.randn(3, 7)
    with torch.no_grad():
        head.log_alpha.fill_(0.0)
    widest = lift(features, "text").detach()
    with torch.no_grad():
        head.log_alpha.fill_(0.7)
    torch.testing.assert_close(lift(features, "text").detach(), widest)
    lift.clamp_()
    assert float(head.log_alpha.detach()) == 0.0
    lift(features, "text").norm().backward()
    assert float(head.log_alpha.grad) > 0  # at its bound it can still turn round


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("pushed", "bound"), [(50.0, 10.0), (1e-3, 0.1)])
def test_curvature_and_temperature_are_clamped(kind: str, pushed: float, bound: float) -> None:
    lift = lorentz(kind)
    with torch.no_grad():
        lift.log_curv.fill_(math.log(pushed))
        lift.log_logit_scale.fill_(math.log(1000.0))
    lift.clamp_()
    assert float(lift.curv.detach()) == pytest.approx(bound, rel=1e-6)
    assert float(lift.log_logit_scale.detach()) == pytest.approx(math.log(100.0))
    lift.check("here")  # bounds are inside


@pytest.mark.parametrize("curv", [0.1, 1.0, 10.0])
def test_polar_radius_is_bounded_and_starts_where_it_is_told(curv: float) -> None:
    lift = lorentz("polar", curv=curv, radius=1.5, min_radius=0.4, max_radius=3.0)
    features = spread()
    start = radii(lift, lift(features, "image"))
    np.testing.assert_allclose(start, 1.5, rtol=1e-4)
    with torch.no_grad():
        lift.heads["image"].radius.weight.normal_()
    radius = radii(lift, lift(features, "image"))
    assert radius.min() >= 0.4 * (1 - 1e-4)
    assert radius.max() <= 3.0 * (1 + 1e-4)
    assert radius.min() < 0.5
    assert radius.max() > 2.9
    lift.space.check(lift.to_storage(lift(features, "image")))


def test_polar_direction_is_independent_of_radius_and_of_length() -> None:
    lift = lorentz("polar")
    features = spread()

    def directions() -> torch.Tensor:
        return torch.nn.functional.normalize(lift(features, "image").detach(), dim=1)

    before = directions()
    head = lift.heads["image"]
    wanted = torch.nn.functional.normalize(features @ head.direction.weight.detach().T, dim=1)
    torch.testing.assert_close(before, wanted, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        head.radius.weight.normal_()
        head.radius.bias.fill_(2.0)
    torch.testing.assert_close(directions(), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_features_give_float32_points(kind: str) -> None:
    lift = lorentz(kind)
    features = torch.randn(5, 12)
    with torch.autocast("cpu", torch.bfloat16):
        found = lift(features, "image")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, lift(features, "image"), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_scaled_distances_of_the_numpy_half(kind: str) -> None:
    lift = lorentz(kind, curv=2.0, logit_scale=10.0)
    a = lift(torch.randn(5, 12), "image").detach()
    b = lift(torch.randn(9, 7), "text").detach()
    similarity = lift.space.similarity(lift.to_storage(a), lift.to_storage(b))
    np.testing.assert_allclose(lift.logits(a, b).detach().numpy(), 10 * similarity, rtol=1e-3)
    given = lift.logits(a, b, torch.tensor(2.0)).detach().numpy()
    np.testing.assert_allclose(given, 2 * similarity, rtol=1e-3)
    rowwise = lift.distance(a, b[:5]).detach().numpy()
    np.testing.assert_allclose(rowwise, -np.diagonal(similarity[:, :5]), rtol=1e-4)
    excess = lift.cone_excess(b[:5], a).detach().numpy()
    np.testing.assert_allclose(excess, lift.space.cone_excess(b[:5].numpy(), a.numpy()), atol=1e-5)


# ------------------------------------------------------------------------------ from space to space
@pytest.mark.parametrize("curv", [0.1, 1.0, 10.0])
def test_from_tangent_inverts_to_tangent(curv: float) -> None:
    lift = lorentz("tangent", curv=curv)
    x = points(curv=curv)
    torch.testing.assert_close(lift.from_tangent(lift.to_tangent(x)).detach(), x, rtol=1e-5, atol=1e-6)
    lengths = lift.to_tangent(x).norm(dim=1).detach()
    torch.testing.assert_close(lengths, torch.linspace(0.1, 3.0, 30), rtol=1e-5, atol=0)
    far = lift.from_tangent(torch.full((1, 6), 100.0))
    assert radii(lift, far)[0] == pytest.approx(lift.config.max_radius, rel=1e-4)


def test_another_curvature_keeps_all_ratios_of_distances() -> None:
    teacher, student = lorentz("polar", curv=4.0), lorentz("tangent", curv=0.5)
    x = points(curv=4.0)
    moved = student.from_tangent(teacher.to_tangent(x)).detach()
    before, after = teacher.space.rescore(x[:-1], x[1:]), student.space.rescore(moved[:-1], moved[1:])
    np.testing.assert_allclose(after / before, math.sqrt(4.0 / 0.5), rtol=1e-4)
    np.testing.assert_allclose(
        student.space.cone_excess(moved[:-1], moved[1:]), teacher.space.cone_excess(x[:-1], x[1:]), atol=1e-4
    )


def test_sphere_and_hyperboloid_keep_directions() -> None:
    sphere, hyperboloid = build_lift(SphereConfig(dim=6), DIMS), lorentz("tangent", curv=2.0)
    x = points(curv=2.0)
    directions = torch.nn.functional.normalize(x, dim=1)
    torch.testing.assert_close(sphere.from_tangent(hyperboloid.to_tangent(x)).detach(), directions)
    there = hyperboloid.from_tangent(sphere.to_tangent(directions)).detach()
    torch.testing.assert_close(torch.nn.functional.normalize(there, dim=1), directions)
    np.testing.assert_allclose(radii(hyperboloid, there), 1.0, rtol=1e-5)
    torch.testing.assert_close(sphere.from_tangent(sphere.to_tangent(directions)), directions)


def test_shared_curvature_is_taken_over_and_stays() -> None:
    teacher, student = lorentz("polar", curv=3.0), lorentz("tangent")
    student.tie_curvature(teacher)
    assert student.space.curv == teacher.space.curv == pytest.approx(3.0, rel=1e-6)
    assert not student.log_curv.requires_grad
    with raises_code("E-SPACE-OTHER", "curvature:"):
        student.tie_curvature(build_lift(SphereConfig(dim=6), DIMS))
    with raises_code("E-MODEL-DAMAGED", "curvature:", "50", "0.1", "10"):
        student.tie_curvature(lorentz("polar", curv=50.0, max_curv=60.0))


def test_lifts_refuse_verbs_that_they_lack() -> None:
    sphere, hashed = build_lift(SphereConfig(dim=8), DIMS), build_lift(HashConfig(bits=8), DIMS)
    x = torch.ones(2, 8)
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: sphere.cone_excess(x, x), "lift sphere: has no entailment cones; .* set entailment to 0"),
        (
            lambda: sphere.tie_curvature(sphere),
            "lift sphere: has no curvature to share; use curvature: transport",
        ),
        (lambda: sphere.fit({}, 0), r"lift sphere: has no fitted map; use lift\.kind binary"),
        (lambda: hashed.to_tangent(x), "lift hash: has no tangent space; use a lift of kind sphere"),
        (lambda: hashed.from_tangent(x), "lift hash: has no tangent space"),
        (lambda: hashed.cone_excess(x, x), "lift hash: has no entailment cones"),
        (lambda: lorentz("polar").fit({}, 0), r"lift polar: has no fitted map; use lift\.kind binary"),
    ]
    for verb, message in refused:
        with pytest.raises(LimbeckError, match=message) as found:
            verb()
        assert "\n" not in str(found.value)


# ------------------------------------------------------------------------------ scalars and heads
@pytest.mark.parametrize("kind", KINDS)
def test_space_follows_the_learned_curvature(kind: str) -> None:
    lift = lorentz(kind)
    assert lift.space == Lorentz(6, 1.0)
    with torch.no_grad():
        lift.log_curv.add_(0.4)
    assert lift.space.curv == pytest.approx(math.exp(0.4), rel=1e-6)
    assert lift.space.curv == float(np.float32(lift.space.curv))
    assert lift.curv.requires_grad
    assert not lorentz(kind, learn_curv=False).log_curv.requires_grad


def test_monitors_of_the_tangent_lift() -> None:
    lift = lorentz("tangent", max_radius=2.0)
    features = torch.cat([torch.randn(6, 12) * 1e-3, torch.randn(2, 12) * 1e3])
    image, text = lift(features, "image"), lift(torch.zeros(4, 7), "text")
    found = {name: float(value) for name, value in lift.monitors(image=image, text=text).items()}
    assert found["curv"] == 1.0
    assert found["logit_scale"] == pytest.approx(1 / 0.07, rel=1e-6)
    assert found["cap_share/image"] == 0.25
    assert found["cap_share/text"] == 0.0  # at the origin there is no bound
    assert found["radius/text"] == pytest.approx(0.0, abs=1e-6)
    assert found["radius/image"] == pytest.approx(0.5, abs=0.01)


def test_monitors_of_the_polar_lift_count_both_bounds() -> None:
    lift = lorentz("polar", radius=1.0, min_radius=0.5, max_radius=2.0)
    radii = torch.tensor([0.501, 0.7, 1.0, 1.999, 1.9, 1.995])
    x = torch.sinh(radii)[:, None] * torch.nn.functional.normalize(torch.randn(6, 6), dim=1)
    found = lift.monitors(image=x)
    assert float(found["cap_share/image"]) == 0.5
    assert lift.is_clipped(x, "image").tolist() == [True, False, False, True, False, True]
    flat = build_lift(SphereConfig(dim=6), DIMS)
    with pytest.raises(LimbeckError, match=r"lift sphere: has no bounds of the radius; use a lift of kind"):
        flat.is_clipped(x, "image")
    assert float(found["radius/image"]) == pytest.approx(float(radii.mean()), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_freeze_keeps_head_and_curvature(kind: str) -> None:
    lift = lorentz(kind)
    lift.freeze("image")
    trained = {name for name, p in lift.named_parameters() if p.requires_grad}
    assert trained
    assert all(name == "log_logit_scale" or name.startswith("heads.text.") for name in trained)


@pytest.mark.parametrize("kind", KINDS)
def test_adopt_takes_head_and_curvature(kind: str) -> None:
    origin, lift = lorentz(kind, curv=2.5), lorentz(kind)
    with torch.no_grad():
        for p in origin.heads.parameters():
            p.normal_()
    lift.load_from(origin, "image")
    features = torch.randn(4, 12)
    assert torch.equal(lift(features, "image"), origin(features, "image"))
    assert not torch.equal(lift(torch.ones(1, 7), "text"), origin(torch.ones(1, 7), "text"))
    other = lorentz("polar" if kind == "tangent" else "tangent")
    for stranger in (other, lorentz(kind, dim=5), build_lift(SphereConfig(dim=6), DIMS)):
        with pytest.raises(LimbeckError, match=r"lives in .*use the same lift for both"):
            lift.load_from(stranger, "image")
    narrow = type(lift)(lift.config, {"image": 3, "text": 7})
    with pytest.raises(LimbeckError, match="its image head does not fit this stage's lift"):
        lift.load_from(narrow, "image")


def test_bounds_that_do_not_hold_are_refused() -> None:
    for wrong, message in [
        (lambda: TangentConfig(curv=20.0), "min_curv <= curv <= max_curv"),
        (lambda: PolarConfig(radius=6.0), "min_radius < radius < max_radius"),
        (lambda: PolarConfig(min_radius=2.0, radius=2.0), "min_radius < radius < max_radius"),
        (lambda: TangentConfig(max_radius=12.0), "max_radius"),
    ]:
        with pytest.raises(ValidationError, match=message):
            wrong()


# ------------------------------------------------------------------------------ on disk
def model(lift: dict[str, Any]) -> DualEncoder:
    made = build({"kind": "features", "name": "cnn"}, {"kind": "bag"}, lift, hidden=[5], norm=True)
    curved: Any = made.lift
    if hasattr(curved, "log_curv"):
        with torch.no_grad():
            curved.log_curv.add_(0.3)
            curved.log_logit_scale.add_(0.1)
    return made.eval()


LIFTS: list[dict[str, Any]] = [
    {"kind": "tangent", "dim": 4},
    {"kind": "polar", "dim": 4, "radius": 1.0, "max_radius": 2.2},
    {"kind": "sphere", "dim": 4},
]


@pytest.mark.parametrize("lift", LIFTS, ids=lambda config: config["kind"])
def test_saved_and_loaded_keeps_points_and_curvature(tmp_path: Path, lift: dict[str, Any]) -> None:
    made = model(lift)
    made.save(tmp_path / "m")
    again = limbeck.load(tmp_path / "m")
    assert again.space == made.space
    assert again.space_id == made.space_id
    np.testing.assert_array_equal(again.encode_image(FEATURES), made.encode_image(FEATURES))
    np.testing.assert_array_equal(again.encode_text(TEXTS), made.encode_text(TEXTS))
    again.space.check(again.encode_text(TEXTS))
    assert type(lift_from_json(made.lift.describe())) is type(made.lift)


@pytest.mark.parametrize("lift", LIFTS[:2], ids=lambda config: config["kind"])
def test_space_id_is_of_curvature_and_image_side_alone(lift: dict[str, Any]) -> None:
    made: Any = model(lift)
    first = made.space_id
    with torch.no_grad():
        made.lift.log_logit_scale.add_(0.5)
        for p in [*made.towers["text"].parameters(), *made.lift.heads["text"].parameters()]:
            p.add_(0.1)
    assert made.space_id == first
    seen = {first}
    for p in [made.lift.log_curv, *made.lift.heads["image"].parameters(), *made.towers["image"].parameters()]:
        with torch.no_grad():
            p.add_(1e-3)
        seen.add(made.space_id)
    count = 1 + len([*made.lift.heads["image"].parameters(), *made.towers["image"].parameters()])
    assert len(seen) == 1 + count


@pytest.mark.parametrize("lift", LIFTS[:2], ids=lambda config: config["kind"])
@pytest.mark.parametrize(
    ("curv", "said"), [(0.01, "0.01"), (20.0, "20"), (math.nan, "nan"), (1e9, "1e\\+09")]
)
def test_curvature_outside_its_bounds_is_one_line(
    tmp_path: Path, lift: dict[str, Any], curv: float, said: str
) -> None:
    model(lift).save(tmp_path / "m")
    file = tmp_path / "m/model.safetensors"
    tensors = load_tensors(file)
    tensors["lift.log_curv"].fill_(math.log(curv))
    save_tensors(file, tensors)
    message = rf"model\.safetensors: curvature {said} is outside its bounds 0\.1 to 10; the file is damaged"
    with pytest.raises(LimbeckError, match=message) as found:
        limbeck.load(tmp_path / "m")
    assert "\n" not in str(found.value)


def test_idle_later_keys_do_not_change_hashes() -> None:
    before = {"kind": "clip_image", "augment": {"crop": [0.6, 1.0]}, "parts": [{"hidden": []}]}
    after = {
        "kind": "clip_image",
        "augment": {"crop": [0.6, 1.0], "jitter": 0.0},
        "parts": [{"hidden": [], "norm": False}],
    }
    assert identity(after) == identity(before) == before
    for changed in ({"jitter": 0.1}, {"norm": True}):
        assert identity(changed) == changed
    plain = build({"kind": "features", "name": "cnn"}, {"kind": "bag"})
    normed = build({"kind": "features", "name": "cnn"}, {"kind": "bag"}, norm=True)
    assert "norm" not in identity(plain.towers["image"].describe())["config"]
    assert plain.space_id != normed.space_id


def test_norm_ends_the_trunk() -> None:
    lift: dict[str, Any] = {"kind": "sphere", "dim": 4}
    for hidden in ([], [5]):
        made = build({"kind": "features", "name": "cnn"}, {"kind": "bag"}, lift, hidden=hidden, norm=True)
        features = made.encode_image(FEATURES, output="features")
        np.testing.assert_allclose(features.mean(1), 0, atol=1e-5)
        alive = features.any(axis=1)  # ReLU may leave a row of zeros
        np.testing.assert_allclose(features.std(1)[alive], 1, rtol=0.02)


def test_every_lift_answers_for_itself() -> None:
    for config in LIFTS:
        lift: Lift = model(config).lift
        assert lift.describe() == lift_from_json(lift.describe()).describe()
        assert set(lift.monitors(image=lift(torch.randn(3, 5), "image"))) >= {"logit_scale"}
        lift.check("here")


def test_texts_of_the_polar_lift_have_bounds_of_their_own() -> None:
    lift = lorentz(
        "polar", radius=1.5, min_radius=1.4, max_radius=1.6,
        text_radius=0.3, text_min_radius=0.1, text_max_radius=0.6,
    )  # fmt: skip
    features = {modality: 100 * torch.randn(50, width) for modality, width in DIMS.items()}
    radii = {modality: lift.radius(lift(x, modality)) for modality, x in features.items()}
    assert radii["image"].min() > 1.39 and radii["image"].max() < 1.61
    assert radii["text"].min() > 0.09 and radii["text"].max() < 0.61
    start = lift.radius(lift(torch.zeros(1, DIMS["text"]) + 1e-3, "text"))
    assert start.item() == pytest.approx(0.3, abs=1e-3)
    x = torch.sinh(torch.tensor([0.1, 0.3, 0.6]))[:, None] * torch.eye(6)[:3]
    assert lift.is_clipped(x, "text").tolist() == [True, False, True]
    assert float(lift.monitors(phrase=x)["cap_share/phrase"]) == pytest.approx(2 / 3)
    with pytest.raises(ValidationError, match="text_radius"):
        PolarConfig(text_radius=3.0, text_max_radius=2.0)
