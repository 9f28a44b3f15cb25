"""Classify pictures zero-shot: each picture gets the class with the nearest prompts; nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluation.encode import Side
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.results import plain
from limbeck.metrics import best_classes, hierarchical, mean_per_class, top1
from limbeck.metrics.hierarchy import MEASURES

if TYPE_CHECKING:
    from limbeck.data.classes import Classes
    from limbeck.encoders.dual import DualEncoder

PICTURES_AT_ONCE = 4096


def class_points(model: DualEncoder, classes: Classes, *, batch_size: int = 256) -> np.ndarray:
    """Return one class embedding per class, (C, width): the mean of its prompts in the model's space.

    On the sphere this is the mean, normalised to length 1 (CLIP). On the hyperboloid it is the mean in the
    tangent space at the origin (MERU). For hash codes it is the majority of each bit.

    Args:
        model: encodes the prompts.
        classes: C classes with an equal number of prompts each.
        batch_size: prompts per forward pass.
    """
    flat = [prompt for prompts in classes.prompts for prompt in prompts]
    points = model.encode_text(flat, batch_size=batch_size)
    return model.space.mean(points.reshape(len(classes.names), -1, points.shape[1]), axis=1)


def unknown_classes(model: DualEncoder, classes: Classes) -> list[str]:
    """List the classes whose name the text tower cannot read; only the rest of their prompts counts."""
    unknown = []
    for name, word in zip(classes.names, classes.words, strict=True):
        try:
            model.check_query(word)
        except LimbeckError:
            unknown.append(name)
    return unknown


def zero_shot(model: DualEncoder, images: Side, classes: Classes, *, batch_size: int = 256) -> Scores:
    """Classify pictures by the nearest class embedding; tied classes count in expectation.

    Args:
        model: encodes the prompts; its space gives the similarity.
        images: embeddings of the pictures, in the order of ``classes.numbers``.
        classes: classes, prompts and tree; pictures without a class are left out.
        batch_size: prompts per forward pass.

    Returns:
        Group ``zero_shot``: ``top1``, ``mean_per_class`` (as MERU reports it) and ``chance`` (1 / C). Its
        per-query values are 1, 0, or a share where classes tie. With a tree, group ``hierarchy`` holds
        ``tie``, ``lca``, ``jaccard``, ``precision`` and ``recall`` (`limbeck.metrics.hierarchical`); its
        per-query value is ``tie``. A picture without a class has None.
    """
    shown = np.flatnonzero(classes.numbers >= 0)
    true, points = classes.numbers[shown], images.points[shown]
    targets = class_points(model, classes, batch_size=batch_size)
    predicted: list[np.ndarray] = []
    for start in range(0, len(points), PICTURES_AT_ONCE):
        similarity = model.space.similarity(points[start : start + PICTURES_AT_ONCE], targets)
        predicted += best_classes(similarity)
    accuracy = top1(predicted, true)
    scores = Scores()
    scores.metrics["zero_shot"] = {
        "top1": accuracy.value,
        "mean_per_class": mean_per_class(predicted, true).value,
        "chance": 1 / len(classes.names),
    }
    scores.per_query["zero_shot"] = plain(_spread(accuracy.per_query, shown, len(images)))
    if classes.tree is not None:
        nodes = [classes.nodes[several] for several in predicted]
        wrong = hierarchical(classes.tree.parents, nodes, classes.nodes[true])
        scores.metrics["hierarchy"] = {name: getattr(wrong, name) for name in MEASURES}
        scores.per_query["hierarchy"] = plain(_spread(wrong.per_query["tie"], shown, len(images)))
    return scores


def _spread(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Place the values of some rows into an array of ``count`` rows; the other rows are NaN."""
    out = np.full(count, np.nan)
    out[rows] = values
    return out
