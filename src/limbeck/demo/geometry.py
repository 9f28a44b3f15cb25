"""Compute radii by kind of point, and the tree of colours on the disk, for a hyperbolic model."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.demo.colours import DETAILED, GENERAL, KIND, colour_path, naming_captions
from limbeck.encoders.dual import DualEncoder
from limbeck.reporting.disk import Disk, directions, fit_angles

KINDS = {"most detailed captions": DETAILED, "kinds of things": KIND, "most general captions": GENERAL}


@dataclass(frozen=True)
class Places:
    """The radii by kind, in units of 1/√curv, and the disk."""

    radii: dict[str, np.ndarray]
    disk: Disk


def places_of(
    model: DualEncoder, pairs: Pairs, rows: np.ndarray, pictures: np.ndarray, train: np.ndarray
) -> Places:
    """Compute radii and disk of a model in a hyperbolic space.

    Args:
        model: encodes the captions.
        pairs: the scenes.
        rows: (N,) rows to show.
        pictures: (N, width) embeddings of their pictures.
        train: rows whose captions name the colours; the angles on the disk are fitted to these texts only.
    """
    space = model.space
    unit = math.sqrt(space.to_json()["curv"])
    radii = {"pictures": unit * space.radius(pictures)}
    for kind, place in KINDS.items():
        texts = list(dict.fromkeys(pairs.captions[row][place] for row in rows.tolist()))
        radii[kind] = unit * space.radius(model.encode_text(texts))
    named = {node: model.encode_text(texts) for node, texts in naming_captions(pairs, train).items()}
    paths = sorted({tuple(path) for row in train.tolist() if (path := colour_path(pairs, row))})
    leaves = [path[-1] for path in paths]
    points = np.concatenate([named[leaf] for leaf in leaves])
    angles = fit_angles(points, [leaf for leaf in leaves for _ in named[leaf]], paths)
    nodes = {}
    for node, own in named.items():
        middle = space.mean(own)[None]
        nodes[node] = angles.place(middle, unit * space.radius(middle))[0]
    told = [colour_path(pairs, row) for row in rows.tolist()]
    shown = [at for at, path in enumerate(told) if path]
    center = directions(pictures[shown]).mean(0)
    disk = Disk(
        spots=angles.place(pictures[shown], radii["pictures"][shown], center),
        branches=[path[1] for path in told if path],
        nodes=nodes,
        edges=sorted({pair for path in paths for pair in itertools.pairwise(path)}),
        node_branches={node: path[1] for path in paths for node in path[1:]},
    )
    return Places(radii, disk)
