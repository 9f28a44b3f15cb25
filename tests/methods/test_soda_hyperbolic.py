"""SODA guided by a hyperbolic teacher: S' again in numpy, refusals, a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limbeck.data.batches import Batches
from limbeck.evaluation import evaluate
from limbeck.geometry import lorentz
from limbeck.methods import TrainState
from limbeck.methods.soda_hyperbolic import pairwise_cone_excess, quantile
from limbeck.spaces import Lorentz
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from raising import raises_code
from tiny import soda_recipe, write_pairs, write_protocol

POLAR = {"kind": "polar", "dim": 6, "radius": 1.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hyperbolic")
    write_pairs(folder, rows=120)
    write_protocol(folder)
    for name, lift in (("meru", POLAR), ("clip", {"kind": "sphere", "dim": 6})):
        stages = {"guide": {"method": {"name": name}, "lift": lift}}
        train(tree(folder) | {"stages": stages}, out=folder / name, quiet=True)
    return folder


def tree(place: Path) -> dict[str, Any]:
    return soda_recipe(place / "pairs", place / "hashing.yaml", steps=40, validate_every=40)


def made(place: Path, name: str = "soda-hyperbolic", **options: Any) -> tuple[Any, dict[str, Any]]:
    stage = {"method": {"name": name, **options}}
    resolved = load_recipe(tree(place) | {"stages": {"one": stage}})
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    return method.eval(), Batches(data.train, input_readers(method, data.train), batch_size=16, seed=0).at(0)


def test_cones_of_all_pairs_are_those_of_the_space() -> None:
    rng = np.random.default_rng(0)
    x, y = 0.6 * rng.standard_normal((7, 5)), 1.5 * rng.standard_normal((9, 5))
    y[0] = 3 * x[0]  # straight behind: inside
    found = pairwise_cone_excess(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    expected = Lorentz(5, 1.0).cone_excess(x[:, None].astype(np.float32), y[None].astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert found[0, 0] < 0


@pytest.mark.parametrize("share", [0.0, 0.137, 0.5, 0.9999, 1.0])
def test_the_quantile_is_that_of_torch(share: float) -> None:
    values, at = torch.randn(31, 17, dtype=torch.float64), torch.tensor(share, dtype=torch.float64)
    for given in (values, values[:1, :1], torch.ones(2, 2, dtype=torch.float64)):
        torch.testing.assert_close(quantile(given, at), torch.quantile(given.flatten(), at))


def test_the_quantile_of_a_large_batch() -> None:
    values = torch.arange(4097 * 4097, dtype=torch.float64).view(4097, 4097)  # torch.quantile refuses these
    assert float(quantile(values, torch.tensor(0.25, dtype=torch.float64))) == (4097**2 - 1) / 4


@pytest.mark.parametrize("by", ["distance", "cone"])
def test_s_is_softened_by_the_teacher(place: Path, by: str) -> None:
    method, batch = made(place, teacher=str(place / "meru"), by=by, guide=0.25, sharpness=3.0)
    reps = method.encode_batch(batch)
    teacher = method.teachers["teacher_image"].lift
    points = {  # as the teacher itself would store them, at its own curvature
        side: teacher.from_tangent(getattr(reps, f"teacher_{side}")).detach().double().numpy()
        for side in ("image", "text")
    }
    space, labels = teacher.space, reps.labels.numpy()
    gap = np.empty((16, 16))
    for i in range(16):
        for j in range(16):
            image, text = points["image"][i : i + 1], points["text"][j : j + 1]
            gap[i, j] = (
                space.cone_excess(text.astype(np.float32), image.astype(np.float32))[0]
                if by == "cone"
                else -space.similarity(image.astype(np.float32), text.astype(np.float32))[0, 0]
                * np.sqrt(space.curv)
            )
    share = labels @ labels.T > 0
    middle = np.quantile(gap, share.mean())
    alike = 1 / (1 + np.exp(-3.0 * (middle - gap) / gap.std(ddof=1)))
    expected = 0.75 * share + 0.25 * alike
    similar = method.similar(reps).numpy()
    np.testing.assert_allclose(similar, expected, atol=2e-4)
    losses = method.loss(reps, TrainState(0, 10, 0, 0))
    u, z = (getattr(reps, side).detach().double().numpy() for side in ("image", "text"))
    theta = 4 / np.sqrt(8) * u @ z.T
    likelihood = (np.logaddexp(0, theta) - similar * theta).mean()
    assert float(losses.parts["likelihood"]) == pytest.approx(likelihood, abs=1e-6)
    losses.total.backward()
    assert all(p.grad is None for reader in method.teachers.values() for p in reader.parameters())


def test_without_a_say_it_is_soda(place: Path) -> None:
    guided, batch = made(place, teacher=str(place / "meru"), guide=0.0)
    plain, own = made(place, "soda-teacher")
    state = TrainState(0, 10, 0, 0)
    assert guided.loss(guided.encode_batch(batch), state).value == pytest.approx(
        plain.loss(plain.encode_batch(own), state).value, abs=1e-7
    )


def test_one_point_for_all_says_nothing() -> None:
    same = lorentz.exp_map0(torch.full((3, 2), 0.5), 1.0)
    assert torch.isfinite(pairwise_cone_excess(same, same)).all()
    assert torch.isfinite(pairwise_cone_excess(torch.zeros(2, 2), same)).all()


def test_refusals(place: Path) -> None:
    with raises_code("E-SPACE-OTHER", "teacher:", "sphere", "give a run of meru"):
        made(place, teacher=str(place / "clip"))
    with raises_code("E-CONFIG-VALUE", "method: needs buffer: false"):
        made(place, teacher=str(place / "meru"), buffer=True)
    with raises_code("E-MODEL-MISSING", "nowhere"):
        made(place, teacher=str(place / "nowhere"))


def test_a_whole_run_with_its_guide_as_a_stage(place: Path, tmp_path: Path) -> None:
    recipe = tree(place)
    recipe["stages"]["teacher"]["method"] = {"name": "soda-hyperbolic", "teacher": "guide", "prefixes": []}
    guide = {"guide": {"method": {"name": "meru"}, "lift": POLAR}}
    run = train(recipe | {"stages": guide | recipe["stages"]}, out=tmp_path / "run", quiet=True)
    found = evaluate(run, ceiling=False).metrics
    assert all(found[way]["map"] > found[way]["floor"] + 0.08 for way in ("i2t", "t2i"))


def test_the_recipe_differs_in_its_teacher() -> None:
    ours, base = load_recipe("soda/mirflickr-hyperbolic"), load_recipe("soda/mirflickr")
    assert list(ours.stages) == ["guide", *base.stages]
    assert all(ours.stages[name] == base.stages[name] for name in ("student", "tuned"))
    assert ours.stages["teacher"].towers == base.stages["teacher"].towers
