"""Traverse from pictures to the root, with the nearest pictures at each text on the path."""

from __future__ import annotations

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.encoders.dual import DualEncoder
from limbeck.evaluation.encode import encode_pictures
from limbeck.reporting.traversal_view import Station, Way
from limbeck.traversal import Traversal

FOUND = 4  # pictures shown beside a text


def example_ways(
    label: str,
    model: DualEncoder,
    pairs: Pairs,
    rows: np.ndarray,
    others: np.ndarray,
    pictures: np.ndarray,
) -> list[Way]:
    """Traverse from the pictures of some rows through the captions of others.

    The path passes captions that entail its points. If none entails the picture, it passes the nearest ones.

    Args:
        label: label of the model.
        model: a model with cones.
        pairs: the scenes.
        rows: rows at which the traversals start.
        others: (N,) rows of the candidate captions and pictures.
        pictures: (N, width) embeddings of those pictures.
    """
    texts = list(dict.fromkeys(text for row in others.tolist() for text in pairs.captions[row]))
    places = model.encode_text(texts)
    starts = encode_pictures(model, pairs, rows).points
    ways = []
    for row, start in zip(rows.tolist(), starts, strict=True):
        found = Traversal.of(model.space, start, places, texts)
        entailing = found.steps[0].entailing
        if not entailing:
            found = Traversal.of(model.space, start, places, texts, entailed=False)
        stations = []
        for step in found.chain:
            near: list[int] = []
            if step.number is not None:
                nearness = model.space.similarity(places[step.number][None], pictures)[0]
                near = others[np.argsort(-nearness, kind="stable")[:FOUND]].tolist()
            stations.append(Station(step.text, step.radius, [pairs.open_image(other) for other in near]))
        ways.append(
            Way(
                pairs.open_image(row), pairs.captions[row][0], label, found.radius, entailing, len(texts),
                found.entailed, stations,
            )
        )  # fmt: skip
    return ways
