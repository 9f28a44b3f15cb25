"""The tree of colours: what towers of a few minutes can tell apart (shapes, the class paths, take longer)."""

from __future__ import annotations

import numpy as np

from limbeck.data.classes import Classes
from limbeck.data.hierarchy import Tree
from limbeck.data.pairs import Pairs
from limbeck.data.synthetic import taxonomy as tx

# Captions by their place among the five of a scene, see limbeck.data.synthetic.captions.
DETAILED, LEAF, KIND, GENERAL = 0, 2, 3, 4
ROOT = "one figure"


def colour_path(pairs: Pairs, row: int) -> list[str] | None:
    """Return the class path of the only figure's colour (one figure, warm, red); None for several figures."""
    texts = pairs.captions[row]
    if not texts[GENERAL].startswith(ROOT):
        return None
    return [ROOT, *tx.class_path(texts[LEAF].split()[1])[1:]]


def colour_classes(pairs: Pairs, rows: np.ndarray) -> Classes:
    """Return the eight colours as zero-shot classes of some rows; scenes of several figures have none."""
    paths = [colour_path(pairs, row) for row in rows.tolist()]
    names = sorted(tx.COLOURS)
    tree = Tree.from_paths([[ROOT, *tx.class_path(name)[1:]] for name in names], "colours")
    return Classes(
        names=names,
        numbers=np.array([names.index(path[-1]) if path else -1 for path in paths], np.int64),
        words=names,
        prompts=[
            [f"{_article(name)} {shape} {tx.PHRASES[place]}" for shape in tx.SHAPES for place in tx.PLACES]
            for name in names
        ],
        tree=tree,
        nodes=tree.numbers(names),
    )


def naming_captions(pairs: Pairs, rows: np.ndarray) -> dict[str, list[str]]:
    """Return, by node of the tree, the distinct captions that name it and nothing below it.

    Leaves are named with a shape and a place ("a red star on sand"), their parents with a kind of shape ("a
    warm spiky shape"), the root with a kind of place ("one figure on the ground").
    """
    found: dict[str, dict[str, None]] = {}
    for row in rows.tolist():
        path = colour_path(pairs, row)
        if path:
            for node, place in zip(path, (GENERAL, KIND, LEAF), strict=True):
                found.setdefault(node, {})[pairs.captions[row][place]] = None
    return {node: sorted(texts) for node, texts in found.items()}


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
