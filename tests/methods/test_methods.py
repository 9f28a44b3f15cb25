"""Each method's objective equals a naive re-computation; the controls read what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limbeck.codes import sign_codes
from limbeck.data.batches import Batch, Batches
from limbeck.data.inputs import Input, PromptConfig, label_prompts
from limbeck.encoders.lifts import BinaryLift
from limbeck.errors import LimbeckError
from limbeck.methods import METHODS, Losses, Method, Outputs, Setup, TrainState
from limbeck.methods.base import Embeddings
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from tiny import CLASSES, soda_recipe, write_pairs, write_protocol

STATE = TrainState(0, 10, 0, 0)
BITS = 8


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("methods")
    return soda_recipe(write_pairs(place), write_protocol(place))


def made(recipe: dict[str, Any], name: str, **options: Any) -> tuple[Method, Batch]:
    """A method by name and one batch of 16 pairs."""
    towers = dict(recipe["towers"])
    if name == "multihot-teacher":
        towers["text"] = {"backbone": {"kind": "multihot"}, "hidden": [12]}
    lift = {"clip": {"kind": "sphere", "dim": 6}, "binarize": {"kind": "binary", "bits": BITS}}.get(name)
    tree = recipe | {"towers": towers, "stages": {"one": {"method": {"name": name, **options}}}}
    resolved = load_recipe(tree | ({"lift": lift} if lift else {}))
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    return method.eval(), Batches(data.train, input_readers(method, data.train), batch_size=16, seed=0).at(0)


def numbers(reps: Outputs) -> dict[str, np.ndarray]:
    return {name: rows.detach().double().numpy() for name, rows in reps.tensors().items()}


def likelihood(theta: np.ndarray, labels: np.ndarray) -> float:
    terms = []
    for i in range(len(theta)):
        for j in range(len(theta)):
            similar = float((labels[i] * labels[j]).sum() > 0)
            terms.append(np.log1p(np.exp(theta[i, j])) - similar * theta[i, j])
    return float(np.mean(terms))


def gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a - b) ** 2))


def balance(u: np.ndarray) -> float:
    return float(np.mean(u.mean(0) ** 2))


def theta(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return 4.0 / np.sqrt(BITS) * a @ b.T


def run(method: Method, batch: Batch) -> tuple[Losses, dict[str, np.ndarray]]:
    reps = method.encode_batch(batch)
    return method.loss(reps, STATE), numbers(reps)


@pytest.mark.parametrize("name", ["soda-teacher", "direct-hashing", "multihot-teacher"])
def test_teacher_objective(recipe: dict[str, Any], name: str) -> None:
    losses, x = run(*made(recipe, name, quantization=0.3, balance=0.7))
    codes = np.where(x["image"] + x["text"] >= 0, 1.0, -1.0)
    parts = {
        "likelihood": likelihood(theta(x["image"], x["text"]), x["labels"]),
        "quantization": gap(codes, x["image"]) + gap(codes, x["text"]),
        "balance": balance(x["image"]) + balance(x["text"]),
    }
    assert {n: float(v) for n, v in losses.parts.items()} == pytest.approx(parts, abs=1e-6)
    total = parts["likelihood"] + 0.3 * parts["quantization"] + 0.7 * parts["balance"]
    assert losses.value == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize("target", ["codes", "relaxed"])
def test_student_objective(recipe: dict[str, Any], target: str) -> None:
    weights = {"quantization": 0.2, "agreement": 0.4, "balance": 0.6}
    losses, x = run(*made(recipe, "soda-student", target=target, **weights))
    u, w = x["image"], x["text"]
    codes = np.where(u >= 0, 1.0, -1.0)
    relaxed = target == "relaxed"
    parts = {
        "likelihood": likelihood(theta(w, u if relaxed else codes), x["labels"]),
        "quantization": gap(w, codes) + (gap(u, codes) if relaxed else 0.0),
        "agreement": gap(w, u),
        "balance": balance(w) + (balance(u) if relaxed else 0.0),
    }
    assert {n: float(v) for n, v in losses.parts.items()} == pytest.approx(parts, abs=1e-6)
    total = parts["likelihood"] + sum(weights[n] * parts[n] for n in weights)
    assert losses.value == pytest.approx(total, abs=1e-6)


def test_student_of_codes_gives_the_image_no_gradient(recipe: dict[str, Any]) -> None:
    for target, moved in (("codes", False), ("relaxed", True)):
        method, batch = made(recipe, "soda-student", target=target)
        method.loss(method.encode_batch(batch), STATE).total.backward()
        grads = [p.grad for p in method.encoder.towers["image"].parameters()]
        assert any(g is not None and float(g.abs().sum()) > 0 for g in grads) == moved
        assert all(p.grad is not None for p in method.encoder.towers["text"].parameters())


def test_clip_objective(recipe: dict[str, Any]) -> None:
    method, batch = made(recipe, "clip")
    losses, x = run(method, batch)
    logits = float(method.encoder.lift.logit_scale.detach()) * x["image"] @ x["text"].T  # type: ignore[operator, union-attr]
    n = len(logits)
    rows = [np.log(np.exp(logits[i]).sum()) - logits[i, i] for i in range(n)]
    columns = [np.log(np.exp(logits[:, i]).sum()) - logits[i, i] for i in range(n)]
    assert losses.value == pytest.approx((np.mean(rows) + np.mean(columns)) / 2, abs=1e-5)
    accuracy = np.mean(logits.argmax(1) == np.arange(n))
    assert float(losses.monitors["batch_accuracy"]) == pytest.approx(accuracy)
    assert set(x) == {"image", "text"}


def test_monitors_of_codes(recipe: dict[str, Any]) -> None:
    losses, x = run(*made(recipe, "soda-teacher"))
    for name in ("image", "text"):
        signs = np.where(x[name] >= 0, 1.0, -1.0)
        expected = {"bit_balance": np.abs(signs.mean(0)).mean(), "quantization_error": gap(signs, x[name])}
        for key, value in expected.items():
            assert float(losses.monitors[f"{key}/{name}"]) == pytest.approx(value, abs=1e-6)


def test_weight_zero_leaves_a_part_out_but_reports_it() -> None:
    infinite = torch.tensor(float("inf"))
    losses = Losses.weighted(a=(2.0, torch.tensor(3.0)), b=(0.0, infinite))
    assert losses.value == 6.0
    assert losses.parts["b"] == infinite


def test_binarize_fits_the_lift_and_has_no_gradient(recipe: dict[str, Any]) -> None:
    plain = {m: {"backbone": recipe["towers"][m]["backbone"]} for m in ("image", "text")}
    method, _ = made(recipe | {"towers": plain}, "binarize")
    features = {m: torch.randn(50, 12) for m in ("image", "text")}
    method.prepare(features, seed=0)
    lift = method.encoder.lift
    assert isinstance(lift, BinaryLift)
    codes = lift.to_storage(lift(features["image"], "image"))
    centred = features["image"] - features["image"].mean(0)
    np.testing.assert_array_equal(codes, sign_codes((centred @ lift.projection).numpy()))
    reps = Embeddings(**{m: lift(features[m], m) for m in features})
    losses = method.loss(reps, STATE)
    assert np.isfinite(losses.value)
    assert not losses.total.requires_grad
    with pytest.raises(LimbeckError, match=r"towers\.image\.hidden: .* trains nothing"):
        made(recipe, "binarize")[0].prepare(features, seed=0)
    other, _ = made(recipe | {"towers": plain}, "soda-teacher")
    wrong = METHODS["binarize"](other.encoder, METHODS["binarize"].Config(), Setup(0, 0))
    with pytest.raises(LimbeckError, match=r"lift hash: .* use lift\.kind binary"):
        wrong.prepare(features, seed=0)


def columns(name: str) -> dict[str, str]:
    method = METHODS[name]
    return {key: spec.column for key, spec in method.inputs(method.Config()).items()}


def test_methods_read_what_they_say() -> None:
    for name in ("clip", "soda-student", "direct-hashing", "binarize"):
        assert columns(name) == {"image": "image", "text": "text"}
    assert columns("soda-teacher") == {"image": "image", "text": "label_prompt"}
    assert columns("multihot-teacher") == {"image": "image", "text": "labels"}
    supervised = {name for name, method in METHODS.items() if method.supervised}
    assert supervised >= {"soda-teacher", "soda-student", "direct-hashing", "multihot-teacher"}
    assert not supervised & {"clip", "meru", "hmid-net", "binarize"}


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("soda-teacher", "a photo of "),
        ("direct-hashing", "extra"),
        ("multihot-teacher", list),
    ],
)
def test_what_the_text_tower_is_shown(recipe: dict[str, Any], name: str, first: Any) -> None:
    resolved = load_recipe(recipe)
    view = open_data(resolved).train
    spec: Input = METHODS[name].inputs(METHODS[name].Config())["text"]
    shown = view.candidates(spec)
    for row, items in zip(view.rows.tolist(), shown, strict=True):
        (item,) = items
        own = view.pairs.labels_text[row]
        if first is list:
            assert item == own
        else:
            assert first in item
            assert all(label in item for label in own)
            assert ("extra" in item) == (name == "direct-hashing")


def test_permuted_class_words_are_a_permutation() -> None:
    names = list(CLASSES)
    single = [[n] for n in names]
    plain = label_prompts(single, names, PromptConfig(template="names"))
    assert plain == names
    moved = label_prompts(single, names, PromptConfig(template="names", permute=1))
    assert sorted(moved) == sorted(names)
    assert moved != names
    assert moved == label_prompts(single, names, PromptConfig(template="names", permute=1))
    word_of = dict(zip(names, moved, strict=True))
    both = label_prompts([["cat", "sky"]], names, PromptConfig(template="names", permute=1))
    assert both == [f"{word_of['cat']}, {word_of['sky']}"]


def test_prompts_are_set_by_the_recipe(recipe: dict[str, Any]) -> None:
    config = METHODS["soda-teacher"].Config.model_validate({"prompt": {"template": "photo: {labels}"}})
    spec = METHODS["soda-teacher"].inputs(config)["text"]
    view = open_data(load_recipe(recipe)).train
    assert all(items[0].startswith("photo: ") for items in view.candidates(spec))


def test_a_multihot_tower_cannot_read_prompts(recipe: dict[str, Any], tmp_path: Path) -> None:
    towers = recipe["towers"] | {"text": {"backbone": {"kind": "multihot"}}}
    tree = recipe | {"towers": towers, "stages": {"teacher": recipe["stages"]["teacher"]}}
    resolved = load_recipe(tree)
    with pytest.raises(LimbeckError, match="multihot") as found:
        build_method(resolved.last, open_data(resolved), {}, 0)
    assert "\n" not in str(found.value)


def test_a_bag_of_words_cannot_read_label_lists(recipe: dict[str, Any]) -> None:
    tree = recipe | {"stages": {"one": {"method": {"name": "multihot-teacher"}}}}
    resolved = load_recipe(tree)
    with pytest.raises(LimbeckError, match="label") as found:
        build_method(resolved.last, open_data(resolved), {}, 0)
    assert "\n" not in str(found.value)
