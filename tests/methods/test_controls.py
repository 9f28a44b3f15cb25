"""Further controls of SODA and its code buffer: objectives again in numpy, what is shown, what is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limbeck.data.batches import Batches
from limbeck.evaluation import evaluate
from limbeck.methods import METHODS, Method, Outputs, TrainState
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers, recipe_identity
from tiny import soda_recipe, write_pairs, write_protocol

BITS = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controls")
    write_pairs(folder, rows=120)
    write_protocol(folder)
    return folder


def tree(place: Path, stages: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    recipe = soda_recipe(place / "pairs", place / "hashing.yaml", steps=40, validate_every=40)
    recipe["data"] |= data
    return recipe | ({"stages": stages} if stages else {})


def made(place: Path, name: str, **options: Any) -> tuple[Method, Batches]:
    resolved = load_recipe(tree(place, {"one": {"method": {"name": name, **options}}}))
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    return method.eval(), Batches(data.train, input_readers(method, data.train), batch_size=16, seed=0)


def nll(theta: np.ndarray, similar: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0, theta) - similar * theta)


def numbers(reps: Outputs) -> dict[str, np.ndarray]:
    return {name: rows.detach().double().numpy() for name, rows in reps.tensors().items()}


def test_image_teacher_compares_pictures_with_other_pictures(place: Path) -> None:
    method, batches = made(place, "image-teacher", quantization=0.3, balance=0.7)
    reps = method.encode_batch(batches.at(0))
    assert set(reps.tensors()) == {"image", "labels"}
    losses, x = method.loss(reps, TrainState(0, 10, 0, 0)), numbers(reps)
    u, others = x["image"], ~np.eye(16, dtype=bool)
    table = nll(4 / np.sqrt(BITS) * u @ u.T, x["labels"] @ x["labels"].T > 0)
    spread = ((np.where(u >= 0, 1.0, -1.0) - u) ** 2).mean()
    expected = table[others].mean() + 0.3 * spread + 0.7 * (u.mean(0) ** 2).mean()
    assert losses.value == pytest.approx(expected, abs=1e-6)
    losses.total.backward()
    assert all(p.grad is None for p in method.encoder.towers["text"].parameters())


def test_image_teacher_then_student(place: Path, tmp_path: Path) -> None:
    student = {"method": {"name": "soda-student"}, "init": {"image": "teacher"}, "freeze": ["image"]}
    stages = {"teacher": {"method": {"name": "image-teacher"}}, "student": student}
    run = train(tree(place, stages), out=tmp_path / "run", quiet=True)
    result = evaluate(run, ceiling=False)
    assert all(result.metrics[way]["map"] > result.metrics[way]["floor"] + 0.08 for way in ("i2t", "t2i"))


def test_buffers_hold_the_whole_set(place: Path) -> None:
    scale, n = 4 / np.sqrt(BITS), 0
    for name, options in (
        ("soda-teacher", {}),
        ("soda-student", {"target": "codes"}),
        ("soda-student", {"target": "relaxed"}),
    ):
        method, batches = made(place, name, buffer=True, **options)
        n, all_labels = len(batches.view), batches.view.labels
        assert all_labels is not None
        rng = np.random.default_rng(0)
        f, g = np.tanh(rng.standard_normal((2, n, BITS)))
        method.buffer.write(  # type: ignore[union-attr, operator]
            torch.arange(n), all_labels, image=torch.from_numpy(f), text=torch.from_numpy(g)
        )
        reps = method.encode_batch(batches.at(0))
        method.update_buffers(reps, TrainState(0, 10, 2, 0))
        losses, x = method.loss(reps, TrainState(0, 10, 2, 0)), numbers(reps)
        u, w, rows = x["image"], x["text"], reps.rows.numpy()
        f[rows], g[rows] = (np.where(u >= 0, 1.0, -1.0) if options.get("target") == "codes" else u), w
        similar = x["labels"] @ all_labels.numpy().T > 0
        expected = nll(scale * w @ f.T, similar).mean()
        if name == "soda-teacher":
            expected = (expected + nll(scale * u @ g.T, similar).mean()) / 2
        assert float(losses.parts["likelihood"]) == pytest.approx(expected, abs=1e-6)
        losses.total.backward()
        grads = [p.grad for p in method.encoder.towers["image"].parameters()]
        moved = any(p is not None and float(p.abs().sum()) > 0 for p in grads)
        assert moved == (options.get("target") != "codes")


def test_permuted_labels_stay_the_same_set_and_change_hands(place: Path) -> None:
    own, moved = (open_data(load_recipe(tree(place, permute_labels=seed))) for seed in (None, 3))
    assert own.train.labels is not None and moved.train.labels is not None
    assert own.train.ids == moved.train.ids
    before, after = own.train.labels.numpy(), moved.train.labels.numpy()
    assert (before != after).any()
    np.testing.assert_array_equal(np.sort(before @ [1, 2, 4, 8]), np.sort(after @ [1, 2, 4, 8]))
    assert own.held_out.labels is not None and moved.held_out.labels is not None
    assert torch.equal(own.held_out.labels, moved.held_out.labels)
    assert moved.train.drawing("mixed").label_rows is moved.train.label_rows
    names = moved.pairs.label_names
    # the prompt follows the labels that the row was given
    prompts = moved.train.candidates(METHODS["soda-teacher"].inputs(METHODS["soda-teacher"].Config())["text"])
    for items, row in zip(prompts, after, strict=True):
        assert all((name in items[0]) == bool(on) for name, on in zip(names, row, strict=True))


def test_permuted_labels_hurt(place: Path, tmp_path: Path) -> None:
    scores = {}
    for seed in (None, 3):
        run = train(tree(place, permute_labels=seed), out=tmp_path / str(seed), quiet=True)
        found = evaluate(run, ceiling=False).metrics
        scores[seed] = [found[way]["map"] - found[way]["floor"] for way in ("i2t", "t2i")]
    assert min(scores[None]) > 0.1
    assert np.mean(scores[3]) < 0.7 * np.mean(scores[None])


def test_old_runs_keep_their_identity(place: Path) -> None:
    """A recipe that does not permute has the identity it had before there was a permutation."""
    plain, moved = (load_recipe(tree(place, permute_labels=seed)) for seed in (None, 1))
    assert recipe_identity(plain) == recipe_identity(load_recipe(tree(place)))
    assert recipe_identity(plain) != recipe_identity(moved)


CONTROLS = ("image-teacher", "permuted-labels", "label-bag", "permuted-words", "buffer")


@pytest.mark.parametrize("name", CONTROLS)
def test_recipes_that_ship(name: str) -> None:
    """Each differs from soda/mirflickr in what its note says: same stages, same steps, same student."""
    control, base = load_recipe(f"soda/mirflickr-{name}"), load_recipe("soda/mirflickr")
    assert list(control.stages) == list(base.stages)
    assert all(control.stages[name].schedule == stage.schedule for name, stage in base.stages.items())
    assert control.stages["student"].towers == base.stages["student"].towers
    assert control != base
