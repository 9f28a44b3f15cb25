"""Label prompts: one sentence, sets whose features are averaged, lists, ready-made features, context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limbeck
from limbeck.data.batches import Batches, InputReader
from limbeck.data.inputs import PromptConfig, label_prompts
from limbeck.encoders.backbone import Backbone
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.config import LabelFeaturesConfig
from limbeck.encoders.inputs import Bagged, Cached, Sets, backbone_output, map_tensors
from limbeck.encoders.label_features import LabelFeaturesBackbone
from limbeck.errors import LimbeckError
from limbeck.evaluation import evaluate
from limbeck.methods import Method, TrainState
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from raising import raises_code
from tiny import CLASSES, soda_recipe, write_pairs, write_protocol

SMALL_TEXT = {"kind": "clip_text", "context": 16, "width": 16, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    write_pairs(folder, rows=120)
    write_protocol(folder)
    rng = np.random.default_rng(1)
    np.save(folder / "words.npy", rng.standard_normal((6, 5)).astype(np.float16) + 2)
    (folder / "words.txt").write_text("Cat\npuppy\nhound\nsky\ntree\nlion\n")
    return folder


def tree(place: Path, text: dict[str, Any] | None = None, name: str = "soda-teacher", **prompt: Any) -> Any:
    recipe = soda_recipe(place / "pairs", place / "hashing.yaml", steps=30, validate_every=30)
    recipe["towers"]["text"] |= {"backbone": text or {"kind": "bag"}}
    recipe["stages"] = {"teacher": {"method": {"name": name, "prompt": prompt}}}
    return recipe


def made(recipe: Any, cache: BackboneCache | None = None) -> tuple[Method, Batches, dict[str, InputReader]]:
    resolved = load_recipe(recipe)
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    sources = input_readers(method, data.train, cache)
    return method.eval(), Batches(data.train, sources, batch_size=8, seed=0), sources


def ready(place: Path) -> dict[str, Any]:
    files = {"file": str(place / "words.npy"), "names": str(place / "words.txt")}
    return {"kind": "label_features", "aliases": {"dog": ["puppy", "hound"]}, **files}


# ------------------------------------------------------------------------------ items
def test_together_is_one_sentence_and_averaged_one_a_class() -> None:
    labels, names = [["cat", "sky"], ["dog"], []], ["cat", "dog", "sky"]

    def prompts(**config: Any) -> list[Any]:
        return label_prompts(labels, names, PromptConfig(**config))

    assert prompts() == ["a photo of cat and sky.", "a photo of dog.", "a photo."]
    assert prompts(classes="averaged") == [
        ("a photo of cat.", "a photo of sky."),
        "a photo of dog.",
        "a photo.",
    ]
    several = prompts(template=["sentence", "{labels}!"], words={"cat": "kitten"})
    assert several == [
        ("a photo of kitten and sky.", "kitten and sky!"),
        ("a photo of dog.", "dog!"),
        "a photo.",
    ]
    both = prompts(template=["sentence", "{names}"], classes="averaged")
    assert both[0] == ("a photo of cat.", "cat", "a photo of sky.", "sky")


def test_permuted_words_take_their_words_along() -> None:
    names = ["cat", "dog", "sky"]
    config = PromptConfig(permute=0, words={"cat": "kitten"}, template="{labels}")
    moved = label_prompts([["cat"], ["dog"], ["sky"]], names, config)
    assert sorted(moved) == ["dog", "kitten", "sky"]
    assert moved != ["kitten", "dog", "sky"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"classes": "listed", "template": "names"}, ("E-CONFIG-VALUE", "listed makes no sentence")),
        ({"classes": "listed", "words": {"cat": "kitten"}}, ("E-CONFIG-VALUE", "listed makes no sentence")),
        ({"classes": "apart"}, ("E-CONFIG-VALUE", "together")),
        ({"template": []}, ("E-CONFIG-VALUE", "template")),
    ],
)
def test_settings_that_contradict_each_other(
    place: Path, config: dict[str, Any], said: tuple[str, ...]
) -> None:
    with raises_code(*said) as found:
        load_recipe(tree(place, **config))
    assert "\n" not in str(found.value)


def test_words_for_no_label_are_refused(place: Path) -> None:
    with raises_code("E-LABEL-UNKNOWN", "prompt.words", "'kat'", "cat, dog"):
        made(tree(place, words={"kat": "kitten"}))


# ------------------------------------------------------------------------------ averages
@pytest.mark.parametrize("text", [{"kind": "bag"}, SMALL_TEXT])
def test_sets_are_averaged_behind_the_backbone(place: Path, text: dict[str, Any]) -> None:
    prompt = {"classes": "averaged", "template": ["sentence", "we see {labels}"]}
    method, batches, sources = made(tree(place, text, **prompt))
    tower, batch = method.encoder.towers["text"], batches.at(0)
    assert isinstance(batch.inputs["text"], Bagged if text["kind"] == "bag" else Sets)
    found = tower.backbone_output(batch.inputs["text"]).detach().numpy()
    where = {item: i for i, item in enumerate(sources["text"].view.ids)}
    for row, item in enumerate(batch.ids):
        (texts,) = sources["text"].items[where[item]]
        own = tower.backbone(tower.backbone.collate(list(texts))).detach().double().numpy()
        np.testing.assert_allclose(found[row], own.mean(0), atol=1e-5)


def test_the_cache_averages_the_same(place: Path, tmp_path: Path) -> None:
    recipe = tree(place, SMALL_TEXT, classes="averaged")
    recipe["towers"]["text"]["freeze_backbone"] = True
    method, batches, _ = made(recipe)
    _, stored, _ = made(recipe, BackboneCache(tmp_path, quiet=True))
    tower = method.encoder.towers["text"]
    assert isinstance(stored.at(0).inputs["text"], Cached)
    with torch.no_grad():
        plain, kept = (tower.backbone_output(b.at(0).inputs["text"]) for b in (batches, stored))
    np.testing.assert_allclose(plain, kept, atol=1e-5)


class _Twice(Backbone):
    """Doubles numbers, and counts its rows."""

    rows = 0

    def collate(self, items: Any, generators: Any = None) -> dict[str, torch.Tensor]:
        return {"x": torch.tensor(items, dtype=torch.float32)[:, None]}

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self.rows = len(inputs["x"])
        return 2 * inputs["x"]


def test_sets_of_unequal_size() -> None:
    backbone = _Twice(PromptConfig())  # type: ignore[arg-type]
    inputs = Sets.collate(backbone, [(1.0, 3.0, 8.0), 5.0, (2.0, 4.0)])
    assert inputs.inputs["x"].shape == (3, 3, 1)
    np.testing.assert_allclose(backbone_output(backbone, inputs)[:, 0], [8, 10, 6], rtol=1e-6)
    assert backbone.rows == 9
    part = map_tensors(inputs, lambda x: x[1:])  # chunks are cut by rows
    np.testing.assert_allclose(backbone_output(backbone, part)[:, 0], [10, 6], rtol=1e-6)


def test_a_run_with_averaged_prompts_answers_texts(place: Path, tmp_path: Path) -> None:
    run = train(
        tree(place, classes="averaged", template=["sentence", "{labels}"]), out=tmp_path / "r", quiet=True
    )
    assert limbeck.load(run).encode_text(["a cat"]).shape == (1, 1)


# ------------------------------------------------------------------------------ lists and ready-made features
def test_listed_is_the_multihot_teacher(place: Path) -> None:
    multihot = {"kind": "multihot"}
    listed, batches, _ = made(tree(place, multihot, classes="listed"))
    other, others, _ = made(tree(place, multihot, "multihot-teacher"))
    losses = [
        m.loss(m.encode_batch(b.at(0)), TrainState(0, 1, 0, 0))
        for m, b in ((listed, batches), (other, others))
    ]
    assert losses[0].value == losses[1].value


def test_ready_made_features_are_those_of_the_classes(place: Path) -> None:
    method, batches, _ = made(tree(place, ready(place), classes="listed"))
    tower, batch = method.encoder.towers["text"], batches.at(0)
    x = np.load(place / "words.npy").astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rows = {"cat": [0], "dog": [1, 2], "sky": [3], "tree": [4]}
    data = batches.view
    every = np.stack([np.mean([x[rows[name]].mean(0) for name in own], axis=0) for own in data.label_names])
    scale = np.sqrt(((every - every.mean(0)) ** 2).mean())
    own = [data.label_names[data.ids.index(item)] for item in batch.ids]
    wanted = [np.mean([x[rows[name]].mean(0) for name in names], axis=0) for names in own]
    np.testing.assert_allclose(
        tower.backbone_output(batch.inputs["text"]), (wanted - every.mean(0)) / scale, atol=1e-4
    )


def test_the_features_travel_with_the_model(place: Path, tmp_path: Path) -> None:
    recipe = tree(place, ready(place), classes="listed")
    run = train(recipe, out=tmp_path / "run", quiet=True)
    stored = json.loads((run / "model/model.json").read_text())
    stored["towers"]["text"]["config"]["backbone"] |= {"file": "gone.npy", "names": "gone.txt"}
    (run / "model/model.json").write_text(json.dumps(stored))
    backbone = limbeck.load(run).towers["text"].backbone
    assert isinstance(backbone, LabelFeaturesBackbone)
    assert backbone.classes == list(CLASSES)
    assert backbone(backbone.collate([["cat"], [], ["dog", "other"]])).shape == (3, 5)


def test_a_model_that_reads_labels_answers_no_texts(place: Path, tmp_path: Path) -> None:
    run = train(tree(place, ready(place), classes="listed"), out=tmp_path / "run", quiet=True)
    model = limbeck.load(run)
    for ask in (lambda: model.encode_text(["cat"]), lambda: evaluate(run), lambda: model.check_query("cat")):
        with pytest.raises(LimbeckError, match="text tower reads labels, not texts; train a student"):
            ask()
    limbeck.Index.build(tmp_path / "index", place / "pairs", model=run)
    with raises_code("E-INDEX-MODEL", "index:"):
        limbeck.Index.open(tmp_path / "index").search("cat")
    assert len(limbeck.Index.open(tmp_path / "index").search(like="row0", k=3)) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aliases": {}}, ("E-FEATURES-MISSING", "no features for dog; name others with aliases")),
        ({"aliases": {"dog": ["wolf"]}}, ("E-FEATURES-MISSING", "no features for dog")),
        ({"file": "none.npy"}, ("E-PATH-MISSING", "none.npy")),
        ({"file": "words.txt"}, ("E-ARRAY-FILE", "words.txt")),
        ({"names": "short.txt"}, ("E-ARRAY-SHAPE", "words.npy", "2 names")),
        ({"file": "zero.npy"}, ("E-ARRAY-VALUES", "zero.npy", "row 2", "'hound'")),
    ],
)
def test_features_that_do_not_fit(place: Path, change: dict[str, Any], said: tuple[str, ...]) -> None:
    (place / "short.txt").write_text("cat\ndog\n")
    zero = np.ones((6, 5))
    zero[2] = 0
    np.save(place / "zero.npy", zero)
    change = {k: str(place / v) if isinstance(v, str) else v for k, v in change.items()}
    backbone = LabelFeaturesBackbone(LabelFeaturesConfig(**(ready(place) | change)))
    with raises_code(*said) as found:
        backbone.fit([["cat"], ["dog", "sky"]], seed=0)
    assert "\n" not in str(found.value)


def test_label_features_want_label_lists(place: Path) -> None:
    with raises_code("E-CONFIG-VALUE", "'label_features'"):
        made(tree(place, ready(place)))


# ------------------------------------------------------------------------------ context
def test_context_is_added_to_prompts_alone(place: Path) -> None:
    method, batches, _ = made(tree(place, context=True))
    plain, _, _ = made(tree(place))
    batch, state = batches.at(0), TrainState(0, 1, 0, 0)
    assert method.loss(method.encode_batch(batch), state).value == pytest.approx(
        plain.loss(plain.encode_batch(batch), state).value, rel=1e-6
    )  # it starts at nothing
    with torch.no_grad():
        method.context += torch.linspace(-1, 1, len(method.context))
    tower = method.encoder.towers["text"]
    said = tower.trunk(tower.backbone_output(batch.inputs["text"]) + method.context)
    torch.testing.assert_close(method.encode_batch(batch).text, method.encoder.lift(said, "text"))
    asked = [method.encoder.encode_text(["cat"]), plain.encoder.encode_text(["cat"])]
    np.testing.assert_array_equal(*asked)


def test_context_is_learned_and_stays_with_the_teacher(place: Path, tmp_path: Path) -> None:
    method, batches, _ = made(tree(place, context=True))
    method.loss(method.encode_batch(batches.at(0)), TrainState(0, 1, 0, 0)).total.backward()
    assert float(method.context.grad.abs().sum()) > 0
    run = train(tree(place, context=True), out=tmp_path / "run", quiet=True)
    assert limbeck.load(run).encode_text(["cat"]).shape == (1, 1)


@pytest.mark.parametrize("name", ["direct-hashing", "multihot-teacher"])
@pytest.mark.parametrize("option", [{"context": True}, {"permute": 1}, {"words": {"cat": "x"}}])
def test_prompts_of_a_method_without_are_refused(place: Path, name: str, option: dict[str, Any]) -> None:
    text = {"kind": "multihot" if name == "multihot-teacher" else "bag"}
    with raises_code("E-CONFIG-VALUE", "stages.teacher.method"):
        load_recipe(tree(place, text, name, **option))
    load_recipe(tree(place, text, name, template="names"))  # what a recipe inherits from a teacher's
