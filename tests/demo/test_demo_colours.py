"""The tree of colours that the demo shows, read from generated scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limbeck.data.pairs import Pairs
from limbeck.data.synthetic import taxonomy as tx
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.demo.colours import GENERAL, LEAF, ROOT, colour_classes, colour_path, naming_captions


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    out: Path = tmp_path_factory.mktemp("colours") / "scenes"
    generate_scenes(out, 240, 5, size=32)
    return Pairs.open(out)


def test_a_path_goes_from_the_root_to_the_only_figures_colour(scenes: Pairs) -> None:
    several = 0
    for row, texts in enumerate(scenes.captions):
        path = colour_path(scenes, row)
        if texts[GENERAL].startswith("one figure "):
            assert path is not None and path[0] == ROOT and len(path) == 3
            assert tx.PARENT[path[2]] == path[1] and path[2] in texts[LEAF].split()
            assert path[2] in scenes.labels_text[row]
        else:
            assert path is None
            several += 1
    assert 0 < several < len(scenes.captions)


def test_classes_hold_the_figures_colours(scenes: Pairs) -> None:
    rows = np.arange(len(scenes.captions))
    classes = colour_classes(scenes, rows)
    assert sorted(classes.names) == sorted(tx.COLOURS)
    for row, number in enumerate(classes.numbers.tolist()):
        path = colour_path(scenes, row)
        assert (number == -1) if path is None else (classes.names[number] == path[-1])
    assert [classes.tree.nodes[node] for node in classes.nodes] == classes.names
    for name, prompts in zip(classes.names, classes.prompts, strict=True):
        assert len(prompts) == len(tx.SHAPES) * len(tx.PLACES)
        assert all(prompt.split()[1] == name for prompt in prompts)
        assert prompts[0].startswith("an orange" if name == "orange" else f"a {name}")


def test_naming_captions_name_their_node_and_nothing_below(scenes: Pairs) -> None:
    named = naming_captions(scenes, np.arange(len(scenes.captions)))
    assert set(named) == {ROOT, *tx.COLOURS, *(tx.PARENT[colour] for colour in tx.COLOURS)}
    for node, texts in named.items():
        assert len(texts) == len(set(texts)) > 0
        below = [name for name in tx.COLOURS if tx.PARENT[name] == node or node == ROOT]
        for text in texts:
            assert text.startswith(ROOT) if node == ROOT else node in text.split()
            assert not set(below) & set(text.split())
