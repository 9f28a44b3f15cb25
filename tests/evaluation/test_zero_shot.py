"""Zero-shot classification against a loop over pictures, in every space; and from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from limbeck.data.classes import Classes
from limbeck.data.hierarchy import Tree
from limbeck.data.pairs import Pairs
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.evaluation.classification import class_points, zero_shot
from limbeck.evaluation.encode import Side
from limbeck.metrics import hierarchical
from limbeck.spaces import Hamming, Lorentz, Space, Sphere
from tiny import soda_recipe, write_pairs, write_protocol, write_recipe

NAMES = ["cat", "dog", "oak", "rose"]
TREE = Tree.from_paths([["thing", "animal", "cat"], ["thing", "animal", "dog"], ["thing", "plant", "oak"],
                        ["thing", "plant", "flower", "rose"]])  # fmt: skip
SPACES = [Sphere(6), Lorentz(6, 0.5), Hamming(8)]


def random_points(space: Space, n: int, rng: np.random.Generator) -> np.ndarray:
    if space.storage == "codes":
        return rng.integers(0, 256, (n, space.width), dtype=np.uint8)
    x = rng.standard_normal((n, space.width))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


class Prompts:
    """An encoder that knows the points of some texts by heart."""

    def __init__(self, space: Space, points: dict[str, np.ndarray]) -> None:
        self.space, self.points, self.asked = space, points, []

    def encode_text(self, texts: list[str], *, batch_size: int = 256) -> np.ndarray:
        self.asked += texts
        return np.stack([self.points[text] for text in texts])


def problem(space: Space, pictures: int = 41) -> tuple[Prompts, Side, Classes]:
    rng = np.random.default_rng(3)
    prompts = [[f"a {name}", f"the {name}", f"one {name} there"] for name in NAMES]
    flat = [text for own in prompts for text in own]
    model = Prompts(space, dict(zip(flat, random_points(space, len(flat), rng), strict=True)))
    numbers = rng.integers(-1, len(NAMES), pictures)
    images = Side(random_points(space, pictures, rng), np.arange(pictures))
    return model, images, Classes(NAMES, numbers, NAMES, prompts, TREE, TREE.numbers(NAMES))


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_against_a_loop_over_pictures(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    from limbeck.evaluation import classification

    monkeypatch.setattr(classification, "PICTURES_AT_ONCE", 7)
    model, images, classes = problem(space)
    scores = zero_shot(model, images, classes)  # type: ignore[arg-type]
    targets = [space.mean(np.stack([model.points[text] for text in own])) for own in classes.prompts]
    right: dict[int, list[float]] = {}
    for row, (point, number) in enumerate(zip(images.points, classes.numbers, strict=True)):
        if number < 0:
            assert scores.per_query["zero_shot"][row] is None and scores.per_query["hierarchy"][row] is None
            continue
        near = [float(space.similarity(point[None], target[None])[0, 0]) for target in targets]
        tied = [c for c in range(4) if near[c] == max(near)]
        right.setdefault(int(number), []).append((number in tied) / len(tied))
        wrong = hierarchical(TREE.parents, [classes.nodes[tied]], classes.nodes[[number]])
        assert scores.per_query["zero_shot"][row] == pytest.approx(right[int(number)][-1])
        assert scores.per_query["hierarchy"][row] == pytest.approx(wrong.tie)
    found = scores.metrics["zero_shot"]
    assert found["top1"] == pytest.approx(np.mean([value for own in right.values() for value in own]))
    assert found["mean_per_class"] == pytest.approx(np.mean([np.mean(own) for own in right.values()]))
    assert found["chance"] == 0.25
    ties = [value for value in scores.per_query["hierarchy"] if value is not None]
    assert scores.metrics["hierarchy"]["tie"] == pytest.approx(np.mean(ties))
    assert list(scores.metrics["hierarchy"]) == ["tie", "lca", "jaccard", "precision", "recall"]


def test_lorentz_prompts_are_averaged_in_the_tangent_space() -> None:
    space = Lorentz(6, 0.5)
    model, _, classes = problem(space)
    root = np.sqrt(space.curv)
    wanted = []
    for own in classes.prompts:
        x = np.stack([model.points[text] for text in own]).astype(float)
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        tangent = (np.arcsinh(root * norm) / root * x / norm).mean(axis=0)
        length = np.linalg.norm(tangent)
        wanted.append(np.sinh(root * length) / root * tangent / length)
    np.testing.assert_allclose(class_points(model, classes), wanted, rtol=1e-5)  # type: ignore[arg-type]
    assert model.asked == [text for own in classes.prompts for text in own]


def test_a_perfect_model_is_right_everywhere() -> None:
    model, _, classes = problem(Sphere(6))
    targets = class_points(model, classes)  # type: ignore[arg-type]
    numbers = np.array([0, 1, 2, 3, -1] * 3)
    shown = Side(targets[np.maximum(numbers, 0)], np.arange(15))
    scores = zero_shot(model, shown, Classes(NAMES, numbers, NAMES, classes.prompts, TREE, classes.nodes))  # type: ignore[arg-type]
    assert scores.metrics["zero_shot"]["top1"] == scores.metrics["zero_shot"]["mean_per_class"] == 1
    assert scores.metrics["hierarchy"] == {"tie": 0, "lca": 1, "jaccard": 1, "precision": 1, "recall": 1}


def test_without_a_tree_there_is_no_hierarchy() -> None:
    model, images, classes = problem(Sphere(6))
    bare = Classes(NAMES, classes.numbers, NAMES, classes.prompts, None, np.empty(0, np.int64))
    assert list(zero_shot(model, images, bare).metrics) == ["zero_shot"]  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ the command line
Run = Callable[..., tuple[int, str, str]]


def tiny_clip(pairs: Path, **schedule: Any) -> dict[str, Any]:
    sizes = {"width": 16, "layers": 1, "heads": 2}
    return {
        "name": "tiny/clip",
        "data": {"pairs": str(pairs), "protocol": "scenes/retrieval"},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "towers": {
            "image": {"backbone": {"kind": "clip_image", "image_size": 32, "patch_size": 8, **sizes}},
            "text": {"backbone": {"kind": "clip_text", "context": 16, **sizes}},
        },
        "lift": {"kind": "sphere", "dim": 8},
        "schedule": {"steps": 4, "batch_size": 8} | schedule,
        "stages": {"clip": {"method": {"name": "clip"}}},
    }


def test_scenes_through_the_command_line(tmp_path: Path, limbeck: Run) -> None:
    generate_scenes(tmp_path / "scenes", n=48, seed=1, size=32)
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_clip(tmp_path / "scenes"))
    runs = [tmp_path / f"run{seed}" for seed in (0, 1)]
    for seed, run in enumerate(runs):
        assert limbeck("train", recipe, f"seed={seed}", "--out", run)[0] == 0
        status, out, _ = limbeck("evaluate", run)
        assert status == 0
    for word in ("zero-shot classification, scenes/retrieval", "top-1", "errors in the class tree", "TIE"):
        assert word in out
    assert "in cone" not in out  # a sphere has no cones
    result = json.loads((runs[0] / "result.json").read_text())
    metrics = result["metrics"]
    assert list(metrics) == ["i2t", "t2i", "zero_shot", "hierarchy", "entailment"]
    assert 0 <= metrics["zero_shot"]["top1"] <= 1 and metrics["zero_shot"]["chance"] == 1 / 8
    pairs = Pairs.open(tmp_path / "scenes")
    assert len(result["per_query"]["zero_shot"]) == len(pairs.split_rows("test"))
    assert result["settings"]["classes"] == sorted({path[-1] for path in pairs.class_paths})
    status, out, _ = limbeck("compare", *runs, "--json", tmp_path / "both.json")
    assert status == 0 and "zero-shot classification, scenes/retrieval" in out
    group = json.loads((tmp_path / "both.json").read_text())["groups"][0]
    assert group["values"]["zero_shot top1"][0] == metrics["zero_shot"]["top1"]
    assert group["mean"]["hierarchy tie"] == pytest.approx(np.mean(group["values"]["hierarchy tie"]))


def test_bad_classes_end_before_anything_is_encoded(tmp_path: Path, limbeck: Run) -> None:
    generate_scenes(tmp_path / "scenes", n=24, seed=1, size=32)
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_clip(tmp_path / "scenes", steps=1))
    assert limbeck("train", recipe, "--out", tmp_path / "run")[0] == 0
    protocol = tmp_path / "mine.yaml"
    own = (Path(sys.modules["limbeck"].__file__).parent / "protocols/scenes/retrieval.yaml").read_text()
    protocol.write_text(own.replace("hierarchy: path", "hierarchy: isa.txt"))
    for text, words in (
        ("figure circle\ncircle ring\nring circle\n", "own ancestor (circle → ring → circle)"),
        ("figure circle\nshape ring\n", "two roots, 'figure' and 'shape'"),
        ("figure circle\nfigure ring\n", "class 'cross' is not in the tree"),
    ):
        (tmp_path / "isa.txt").write_text(text)
        status, out, err = limbeck("evaluate", tmp_path / "run", "--protocol", protocol)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert words in err
    assert not list((tmp_path / "run").glob("result*.json"))


def test_classes_that_the_text_tower_does_not_know_are_named(tmp_path: Path, limbeck: Run) -> None:
    pairs, protocol = write_pairs(tmp_path), write_protocol(tmp_path)
    section = {"classes": "label", "prompts": ["{}", "one {}"], "names": {"cat": "wombat"}}
    protocol.write_text(protocol.read_text() + yaml.safe_dump({"classification": section}))
    recipe = write_recipe(tmp_path / "recipe.yaml", soda_recipe(pairs, protocol, steps=2))
    assert limbeck("train", recipe, "--out", tmp_path / "run")[0] == 0
    status, out, _ = limbeck("evaluate", tmp_path / "run", "--no-ceiling")
    assert status == 0 and "does not know: cat" in " ".join(out.split())
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["settings"]["unknown_classes"] == ["cat"]
    alone = [len(own) == 1 for own in np.array(Pairs.open(pairs).labels_text, object)[::5]]
    assert [value is not None for value in result["per_query"]["zero_shot"]] == alone
