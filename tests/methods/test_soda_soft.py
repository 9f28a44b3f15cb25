"""SODA's soft targets and class-balanced pairs: both again by hand, refusals, a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limbeck.data.batches import Batches
from limbeck.encoders.load import load
from limbeck.errors import LimbeckError
from limbeck.evaluation import evaluate
from limbeck.losses import rare_pair_weights
from limbeck.methods import TrainState
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from raising import raises_code
from tiny import soda_recipe, write_pairs, write_protocol

STATE = TrainState(step=0, total_steps=1, epoch=0, seed=0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soft")
    write_pairs(folder)
    write_protocol(folder)
    for name, lift in (("teacher", {"kind": "hash", "bits": 8, "theta": 3.0}), ("clip", {"kind": "sphere"})):
        method = {"name": "soda-teacher" if name == "teacher" else "clip"}
        train(
            tree(folder) | {"stages": {name: {"method": method, "lift": lift}}}, out=folder / name, quiet=True
        )
    return folder


def tree(place: Path) -> dict[str, Any]:
    return soda_recipe(place / "pairs", place / "hashing.yaml", steps=6, validate_every=6)


def made(place: Path, name: str = "soda-student", **options: Any) -> tuple[Any, Any]:
    resolved = load_recipe(tree(place) | {"stages": {"one": {"method": {"name": name, **options}}}})
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    return method.eval(), Batches(data.train, input_readers(method, data.train), batch_size=16, seed=0).at(0)


def test_weights_of_rare_pairs_by_loops() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((5, 4)) < 0.5).astype(float), (rng.random((6, 4)) < 0.5).astype(float)
    shares = np.array([0.5, 0.1, 0.02, 0.9])
    weights = np.ones((5, 6))
    similar = np.zeros((5, 6), bool)
    for i in range(5):
        for j in range(6):
            common = [c for c in range(4) if a[i, c] and b[j, c]]
            if common:
                similar[i, j], weights[i, j] = True, np.mean([shares[c] ** -0.5 for c in common])
    weights[similar] /= weights[similar].mean()
    found = rare_pair_weights(*(torch.tensor(x) for x in (a, b, shares)), 0.5)
    np.testing.assert_allclose(found.numpy(), weights, rtol=1e-5)
    assert (rare_pair_weights(*(torch.tensor(x) for x in (a, b, shares)), 0.0) == 1).all()


@pytest.mark.parametrize("prompts", [0.0, 0.5])
def test_the_likelihood_has_the_teachers_belief_and_the_weights(place: Path, prompts: float) -> None:
    """Oracle: T by hand from the teacher's own codes; its theta, not the student's."""
    run = str(place / "teacher")
    method, batch = made(place, soft=0.4, rarity=0.5, prompts=prompts, teacher=run, target="relaxed")
    outputs = method.encode_batch(batch)
    teacher = load(place / "teacher").eval()
    with torch.no_grad():
        u, z = outputs.teacher_image, outputs.teacher_text
        torch.testing.assert_close(u, teacher.embed("image", made(place)[1].inputs["image"]))
        labels = outputs.labels
        similar = (labels @ labels.T > 0).float()
        target = 0.6 * similar + 0.4 * torch.sigmoid(3.0 / 8**0.5 * u @ z.T)
        weights = rare_pair_weights(labels, labels, method.label_shares, 0.5)
        terms = []
        for a, b in ((outputs.text, outputs.image), (outputs.image, z)):
            phi = 4.0 / 8**0.5 * a @ b.T
            terms.append((weights * (torch.log1p(torch.exp(phi)) - target * phi)).mean())
        expected = (terms[0] + prompts * terms[1]) / (1 + prompts)
        found = method.loss(outputs, STATE).parts["likelihood"]
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    shares = open_data(load_recipe(tree(place))).train.labels.mean(0)
    torch.testing.assert_close(method.label_shares, shares)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"soft": 0.5}, "soft and prompts need a teacher"),
        ({"teacher": "TEACHER"}, "soft and prompts need a teacher"),
        ({"soft": 0.5, "teacher": "TEACHER", "buffer": True}, "teacher needs buffer: false"),
        (
            {"prompts": 0.5, "teacher": "TEACHER"},
            "prompts moves the pictures, but target: codes fixes them; set target: relaxed",
        ),
        ({"rarity": 0.5, "buffer": True}, "rarity weighs the pairs of a batch"),
        ({"soft": 0.5, "teacher": "CLIP"}, "has no hash codes"),
    ],
)
def test_refusals(place: Path, options: dict[str, Any], said: str) -> None:
    known = {"TEACHER": str(place / "teacher"), "CLIP": str(place / "clip")}
    with pytest.raises(LimbeckError, match=said):
        made(place, **{k: known.get(v, v) if isinstance(v, str) else v for k, v in options.items()})


def test_a_run_that_asks_its_first_stage(place: Path, tmp_path: Path) -> None:
    recipe = tree(place)
    recipe["towers"]["text"]["input_dropout"] = 0.2
    student = {"name": "soda-student", "target": "relaxed", "soft": 0.5, "teacher": "teacher", "rarity": 0.5}
    student |= {"prompts": 1.0}
    recipe["stages"]["student"] = {"method": student, "init": {"image": "teacher"}}
    run = train(recipe, out=tmp_path / "run", quiet=True)
    result = evaluate(run, ceiling=False)
    assert result.mean("map") > result.mean("floor")
    trunk = load(run).towers["text"].trunk
    assert type(trunk[0]).__name__ == "Dropout" and trunk[0].p == 0.2
    with raises_code("E-CONFIG-VALUE", "less than or equal to 1"):
        load_recipe(recipe, {"stages.student.method.soft": 1.5})
