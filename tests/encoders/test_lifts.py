"""Lifts agree with the numpy half of their space."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from limbeck.codes import hamming_distances, unpack_bits
from limbeck.encoders.lift_config import BinaryConfig, HashConfig, SphereConfig
from limbeck.encoders.lifts import BinaryLift, HashLift, Lift, SphereLift, build_lift, lift_from_json
from raising import raises_code

DIMS = {"image": 12, "text": 7}


def lifts() -> list[Lift]:
    torch.manual_seed(0)
    return [
        build_lift(SphereConfig(dim=6), DIMS),
        build_lift(HashConfig(bits=16), DIMS),
        build_lift(BinaryConfig(bits=16), {"image": 12, "text": 12}),
    ]


def test_sphere_points_similarity_logits_and_distance() -> None:
    lift = SphereLift(SphereConfig(dim=6, logit_scale=10.0), DIMS)
    a, b = lift(torch.randn(5, 12), "image"), lift(torch.randn(9, 7), "text")
    torch.testing.assert_close(a.norm(dim=1), torch.ones(5))
    points_a, points_b = lift.to_storage(a), lift.to_storage(b)
    lift.space.check(points_a)
    similarity = lift.space.similarity(points_a, points_b)
    np.testing.assert_allclose(lift.logits(a, b).detach().numpy(), 10 * similarity, atol=1e-4)
    distance = torch.stack([lift.distance(a, row.expand_as(a)) for row in b], dim=1).detach().numpy()
    np.testing.assert_allclose(distance, 1 - similarity, atol=1e-5)
    np.testing.assert_array_equal(distance.argsort(1), (-similarity).argsort(1))
    given = lift.logits(a, b, torch.tensor(2.0)).detach().numpy()
    np.testing.assert_allclose(given, 2 * similarity, atol=1e-5)


def test_temperature_is_capped() -> None:
    lift = SphereLift(SphereConfig(dim=4, logit_scale=50.0, max_logit_scale=60.0), DIMS)
    assert float(lift.logit_scale.detach()) == pytest.approx(50.0, rel=1e-5)
    with torch.no_grad():
        lift.log_logit_scale.add_(3.0)
    assert float(lift.logit_scale.detach()) == pytest.approx(60.0)
    lift.clamp_()
    assert float(lift.log_logit_scale.detach()) == pytest.approx(math.log(60.0))


def test_hash_codes_are_signs_and_distance_on_codes_is_hamming() -> None:
    lift = HashLift(HashConfig(bits=16, theta=4.0), DIMS)
    a, b = lift(torch.randn(5, 12), "image"), lift(torch.randn(5, 7), "text")
    assert float(a.detach().abs().max()) < 1
    assert a.dtype == torch.float32
    codes_a, codes_b = lift.to_storage(a), lift.to_storage(b)
    assert (codes_a.dtype, codes_a.shape) == (np.uint8, (5, 2))
    signs_a, signs_b = (torch.where(x >= 0, 1.0, -1.0) for x in (a, b))
    np.testing.assert_array_equal(unpack_bits(codes_a), signs_a.numpy())
    hamming = np.diagonal(hamming_distances(codes_a, codes_b))
    np.testing.assert_array_equal(lift.distance(signs_a, signs_b).numpy(), hamming)
    logits = lift.logits(signs_a, signs_b)
    np.testing.assert_allclose(
        logits, 4 / 16**0.5 * (16 - 2 * hamming_distances(codes_a, codes_b)), atol=1e-5
    )
    np.testing.assert_array_equal(lift.to_storage(torch.zeros(1, 16)), [[255, 255]])  # sign(0) = +1


def test_norm_balances_bits_and_rests_while_frozen() -> None:
    lift = build_lift(HashConfig(bits=8, norm=True), {"image": 3, "text": 3})
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) + 5
    codes = lift.train()(x, "image")
    torch.testing.assert_close(torch.atanh(codes).mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    again = lift_from_json(lift.describe())
    again.load_state_dict(lift.state_dict())
    lift.freeze("image")
    for mode in (True, False):
        lift.train(mode)
        assert torch.equal(lift(x[:1], "image"), again.eval()(x[:1], "image"))


def test_logits_and_distance_have_gradients() -> None:
    for lift in lifts()[:2]:
        features = torch.randn(3, 12, requires_grad=True)
        a, b = lift(features, "image"), lift(torch.randn(3, 7), "text")
        (lift.logits(a, b).sum() + lift.distance(a, b).sum()).backward()
        assert features.grad is not None
        assert float(features.grad.abs().sum()) > 0


def binary(bits: int, rotation: str) -> BinaryLift:
    return BinaryLift(
        BinaryConfig.model_validate({"bits": bits, "rotation": rotation}), {"image": 12, "text": 12}
    )


@pytest.fixture
def two_modalities() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 12)) * 2
    noise = rng.standard_normal((2, 200, 12)) * 0.3
    pair = {"image": shared + noise[0] + 5.0, "text": shared + noise[1] - 3.0}
    return {m: torch.from_numpy(x).float() for m, x in pair.items()}


@pytest.mark.parametrize(("bits", "rotation"), [(8, "itq"), (8, "pca"), (8, "random"), (16, "random")])
def test_binary_lift_centres_each_modality(
    two_modalities: dict[str, torch.Tensor], bits: int, rotation: str
) -> None:
    lift = BinaryLift(
        BinaryConfig.model_validate({"bits": bits, "rotation": rotation}), {"image": 12, "text": 12}
    )
    lift.fit(two_modalities, seed=0)
    found = {m: lift(x, m) for m, x in two_modalities.items()}
    projection = lift.projection.double().numpy()
    for m, x in two_modalities.items():
        centred = x.double().numpy() - x.double().numpy().mean(0)
        np.testing.assert_allclose(found[m].numpy(), centred @ projection, atol=1e-4)
    near = np.diagonal(hamming_distances(lift.to_storage(found["image"]), lift.to_storage(found["text"])))
    assert near.mean() < 0.35 * bits  # the gap between the modalities is closed: pairs are near
    if bits <= 12:
        np.testing.assert_allclose(projection.T @ projection, np.eye(bits), atol=1e-5)
    if rotation == "pca":
        spread = np.concatenate([found[m].numpy() for m in found]).var(0)
        assert (np.diff(spread) <= 1e-3).all()
    again = BinaryLift(lift.config, {"image": 12, "text": 12})
    again.fit(two_modalities, seed=0)
    assert torch.equal(again.projection, lift.projection)


def test_itq_quantises_better_than_pca(two_modalities: dict[str, torch.Tensor]) -> None:
    errors = {}
    for rotation in ("itq", "pca"):
        lift = BinaryLift(
            BinaryConfig.model_validate({"bits": 8, "rotation": rotation}), {"image": 12, "text": 12}
        )
        lift.fit(two_modalities, seed=0)
        x = torch.cat([lift(two_modalities[m], m) for m in two_modalities])
        errors[rotation] = float((torch.sign(x) - x).square().mean())
    assert errors["itq"] < errors["pca"]


def test_more_bits_than_directions_are_refused(two_modalities: dict[str, torch.Tensor]) -> None:
    for rotation in ("itq", "pca"):
        lift = BinaryLift(
            BinaryConfig.model_validate({"bits": 16, "rotation": rotation}), {"image": 12, "text": 12}
        )
        with raises_code("E-CODES-LENGTH", "16") as found:
            lift.fit(two_modalities, seed=0)
        assert "\n" not in str(found.value)


def test_binary_lift_wants_equal_widths() -> None:
    lift = BinaryLift(BinaryConfig(bits=8), {"image": 12, "text": 9})
    with raises_code("E-ARRAY-SHAPE", "12"):
        lift.fit({"image": torch.randn(20, 12), "text": torch.randn(20, 9)}, seed=0)


def test_lifts_come_back_from_json() -> None:
    for lift in lifts():
        again = lift_from_json(lift.describe())
        assert type(again) is type(lift)
        assert again.describe() == lift.describe()
        assert again.space == lift.space
        again.load_state_dict(lift.state_dict())
        assert lift.head("image") is not lift.head("text")
