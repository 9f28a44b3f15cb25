from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.data.synthetic import taxonomy as tx
from limbeck.data.synthetic.baselines import BASELINES, baseline_recall
from limbeck.data.synthetic.captions import captions, labels, tags
from limbeck.data.synthetic.draw import draw_scene
from limbeck.data.synthetic.generate import PATTERN, generate_scenes
from limbeck.data.synthetic.sample import Distinct, Figure, Scene, sample_scene, statement, true_statements
from limbeck.errors import LimbeckError


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Pairs:
    out = tmp_path_factory.mktemp("scenes") / "s"
    generate_scenes(out, 1200, 3)
    return Pairs.open(out)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate_scenes(tmp_path / name, 36, seed, size=32)
    files = ("images.zip", "pairs.parquet", "pairs.json")
    a, b, c = ([(tmp_path / name / file).read_bytes() for file in files] for name in "abc")
    assert a == b and a[0] != c[0] and a[1] != c[1]


def test_a_larger_set_begins_with_the_smaller_one(tmp_path):
    generate_scenes(tmp_path / "a", 24, 5)
    generate_scenes(tmp_path / "b", 48, 5)
    a, b = Pairs.open(tmp_path / "a"), Pairs.open(tmp_path / "b")
    assert b.captions[:24] == a.captions and b.tags[:24] == a.tags
    assert np.array_equal(np.asarray(a.open_image(23)), np.asarray(b.open_image(23)))


def test_columns_and_splits(made):
    assert len(made.label_names) == 24 and made.open_image(0).size == (64, 64)
    counts = Counter(made.table.column("split").to_pylist())
    assert counts == {"train": 800, "val": 100, "test": 200, "heldout": 100}
    assert Counter(PATTERN) == {"train": 8, "val": 1, "test": 2, "heldout": 1}
    assert {len(texts) for texts in made.captions} == {5}
    assert {path[0] for path in made.class_paths} == {"figure"}
    assert {len(path) for path in made.class_paths} == {3, 4}
    for name in ("scenes/hashing", "scenes/retrieval"):
        splits = resolve_splits(load_protocol(name), made)
        assert all(splits.parts.values()) and len(splits.held_out[1]) >= 100


def test_trees_are_three_levels_deep_and_closed():
    assert tx.class_path("square") == ["figure", "polygon", "quadrilateral", "square"]
    assert tx.class_path("red") == ["colour", "warm", "red"]
    for word in (*tx.SHAPES, *tx.COLOURS, *tx.TEXTURES[1:], *tx.PLACES):
        assert len(tx.class_path(word)) >= 3
    assert set(tx.SYNONYMS) <= {*tx.LABELS, *tx.SIZES} and len(tx.LABELS) == len(set(tx.LABELS)) == 24


def test_held_out_combinations_are_only_in_heldout(made):
    def combinations(text: str) -> set[tuple[str, str]]:
        pattern = rf"({'|'.join(tx.COLOURS)}) (?:\w+ )?({'|'.join(tx.SHAPES)})"
        return set(re.findall(pattern, text))

    for row, split in enumerate(made.table.column("split").to_pylist()):
        held = combinations(made.captions[row][0]) & tx.HELD_OUT
        assert bool(held) == (split == "heldout")


def test_the_first_caption_is_true_of_no_other_picture_of_its_split(made):
    firsts = [made.captions[row][0] for row in made.split_rows("test")]
    assert len(set(firsts)) == len(firsts)
    rng = np.random.default_rng(0)
    distinct = Distinct()
    kept = [scene for scene in (sample_scene(rng) for _ in range(400)) if distinct.accept(scene)]
    for scene in kept:
        true_of = [other for other in kept if statement(scene) in true_statements(other)]
        assert true_of == [scene]


def test_statements_say_where_things_are():
    small = Figure("circle", "blue", "plain", "small", 0.5, 0.8, 0.14)
    large = Figure("triangle", "red", "striped", "large", 0.5, 0.3, 0.22)
    scene = Scene((large, small), "sand")
    assert captions(scene) == [
        "a large red striped triangle above a small plain blue circle, on sand",
        "a red striped triangle above a blue circle",
        "a red triangle on sand",
        "a warm polygon above a cool round shape",
        "two figures on the ground",
    ]
    assert captions(Scene((small,), "night"))[0] == "a small plain blue circle at the bottom, at night"
    assert labels(scene) == ["triangle", "circle", "red", "striped", "sand"]
    turned = Scene((Figure("triangle", "red", "striped", "large", 0.15, 0.8, 0.22), small), "sand")
    assert statement(scene) not in true_statements(turned)
    assert statement(Scene((small,), "sand")) in true_statements(scene)
    distinct = Distinct()
    assert distinct.accept(Scene((small,), "sand")) and not distinct.accept(scene)


def test_tags_are_noisy_and_never_the_labels(made):
    known = {*tx.LABELS}
    exact = sum(set(t) == set(names) for t, names in zip(made.tags, made.labels_text, strict=True))
    assert exact == 0 and all(made.tags)
    named = [
        len(set(t) & set(names)) / len(names) for t, names in zip(made.tags, made.labels_text, strict=True)
    ]
    assert 0.2 < float(np.mean(named)) < 0.6
    assert sum(bool(set(t) - known) for t in made.tags) > 0.7 * len(made)
    scene = sample_scene(np.random.default_rng(1))
    assert tags(scene, np.random.default_rng(2)) == tags(scene, np.random.default_rng(2))


def test_labels_are_neither_rare_nor_everywhere(made):
    share = made.labels().mean(axis=0)
    assert share.min() > 0.02 and share.max() < 0.4
    labels = made.labels().astype(np.float32)
    assert 0.4 < float(((labels @ labels.T) > 0).mean()) < 0.65


def test_figures_are_visible_whatever_the_shape_and_the_place():
    for shape in tx.SHAPES:
        for place, colour in zip(tx.PLACES, ("red", "purple", "red", "white", "blue"), strict=True):
            figure = Figure(shape, colour, "plain", "large", 0.5, 0.5, 0.23)
            with_it = np.asarray(draw_scene(Scene((figure,), place), np.random.default_rng(4)), dtype=float)
            ring = with_it[30:34, 20:22] if shape == "ring" else with_it[30:34, 30:34]
            outside = with_it[:8, :8].mean(axis=(0, 1))
            assert np.abs(ring.mean(axis=(0, 1)) - outside).max() > 40, (shape, place)


@pytest.mark.parametrize("size", [32, 50, 128])
def test_other_sizes(size):
    scene = sample_scene(np.random.default_rng(3))
    assert draw_scene(scene, np.random.default_rng(0), size).size == (size, size)


def test_trivial_baselines_stay_low(made):
    # 200 test pictures: chance is 0.5 %.
    for describe in BASELINES.values():
        recall = baseline_recall(made, describe)
        assert max(recall.values()) < 25.0
    histogram = baseline_recall(made, BASELINES["histogram"])
    assert min(histogram.values()) > 1.0


@pytest.mark.parametrize(("n", "seed", "size"), [(5, 0, 64), (24, -1, 64), (24, 0, 16)])
def test_bad_numbers_are_refused(tmp_path, n, seed, size):
    with pytest.raises(LimbeckError):
        generate_scenes(tmp_path / "x", n, seed, size=size)
    assert list(tmp_path.iterdir()) == []
