"""Compute the accuracy of single-label classification: over items (top-1) and as a mean over classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError


@dataclasses.dataclass(frozen=True, eq=False)
class Accuracy:
    """The top-1 accuracy.

    Attributes:
        value: mean over the items, 0 to 1.
        per_query: float64 (Q,), 1 if right, 0 if wrong, 1/n where the true class ties with n − 1 others.
    """

    value: float
    per_query: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ClassAccuracy:
    """The accuracy per class.

    Attributes:
        value: mean over the classes that have items, 0 to 1.
        classes: int64 (K,), numbers of these classes, ascending.
        per_class: float64 (K,), accuracy of each class.
        counts: int64 (K,), number of items of each class.
    """

    value: float
    classes: np.ndarray
    per_class: np.ndarray
    counts: np.ndarray


def best_classes(similarity: ArrayLike) -> list[np.ndarray]:
    """Return, for each query, the classes with the highest similarity: one, or several exact ties.

    Args:
        similarity: real (Q, C), higher is nearer.

    Returns:
        Q arrays of class numbers, int64.

    Raises:
        LimbeckError: the array is not real (Q, C), or it has NaN.
    """
    scores = np.asarray(similarity)
    if scores.ndim != 2 or scores.dtype.kind not in "iuf" or 0 in scores.shape:
        raise LimbeckError(
            f"similarity: is {scores.dtype} {scores.shape}, expected real numbers (Q, C)",
            code="E-ARRAY-SHAPE",
        )
    best = scores.max(axis=1, keepdims=True)
    if best.dtype.kind == "f" and np.isnan(best).any():
        raise LimbeckError("similarity: has NaN; check the inputs of the encoder", code="E-ARRAY-VALUES")
    query, chosen = np.nonzero(scores == best)
    return np.split(chosen.astype(np.int64), np.flatnonzero(np.diff(query)) + 1)


def top1(predicted: ArrayLike | Sequence[ArrayLike], true: ArrayLike) -> Accuracy:
    """Compute top-1 accuracy, in expectation over ties.

    Args:
        predicted: class number of each item, int (Q,); or for each item the classes that tie for the first
            place (`best_classes`).
        true: class number of each item, int (Q,).

    Raises:
        LimbeckError: as for `flat_predictions`.
    """
    item, chosen, share, wanted = flat_predictions(predicted, true)
    right = np.bincount(item, weights=share * (chosen == wanted[item]), minlength=len(wanted))
    return Accuracy(float(right.mean()), right)


def mean_per_class(predicted: ArrayLike | Sequence[ArrayLike], true: ArrayLike) -> ClassAccuracy:
    """Compute the mean over classes of the accuracy per class.

    MERU and HyCoCLIP report this as zero-shot accuracy (the macro average of torchmetrics). Classes without
    an item are left out of the mean.

    Args:
        predicted: as for `top1`.
        true: as for `top1`.

    Raises:
        LimbeckError: as for `flat_predictions`.
    """
    right = top1(predicted, true).per_query
    classes, member, counts = np.unique(np.asarray(true), return_inverse=True, return_counts=True)
    per_class = np.bincount(member, weights=right) / counts
    return ClassAccuracy(float(per_class.mean()), classes.astype(np.int64), per_class, counts)


def flat_predictions(
    predicted: ArrayLike | Sequence[ArrayLike], true: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Flatten both forms of predictions into P predictions: (item (P,), class (P,), share (P,), true (Q,)).

    The shares of an item's predictions are equal and add up to 1.

    Raises:
        LimbeckError: there are no items; a number is not an integer ≥ 0; an item has no prediction.
    """
    wanted = np.asarray(true)
    if wanted.ndim != 1 or not wanted.size or wanted.dtype.kind not in "iu" or wanted.min() < 0:
        raise LimbeckError(
            f"true: is {wanted.dtype} {wanted.shape}, expected one class number per item",
            code="E-ARRAY-SHAPE",
        )
    if len(predicted) != len(wanted):  # type: ignore[arg-type]
        raise LimbeckError(
            f"predicted: has {len(predicted)} predictions for {len(wanted)} items; give one per item",  # type: ignore[arg-type]
            code="E-ARRAY-ROWS",
        )
    parts = [np.atleast_1d(np.asarray(part)) for part in predicted]  # type: ignore[union-attr]
    counts = np.array([part.size for part in parts])
    chosen = np.concatenate(parts)
    if not counts.all() or chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.min() < 0:
        raise LimbeckError(
            "predicted: give each item a class number, or a list of classes that tie", code="E-ARRAY-TYPE"
        )
    item = np.repeat(np.arange(len(parts)), counts)
    return item, chosen, 1.0 / counts[item], wanted
