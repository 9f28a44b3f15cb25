"""Accuracy of single-label classification: over the items (top-1) and as a mean over the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError


@dataclasses.dataclass(frozen=True, eq=False)
class Accuracy:
    """Share of items whose class is predicted.

    Attributes:
        value: mean over the items, 0 to 1.
        per_query: float64 (Q,), 1 right, 0 wrong, 1/n where the right class ties with n − 1 others.
    """

    value: float
    per_query: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ClassAccuracy:
    """Share of right items class by class.

    Attributes:
        value: mean over the classes that have items, 0 to 1.
        classes: int64 (K,), numbers of these classes, ascending.
        per_class: float64 (K,), share of right items of each.
        counts: int64 (K,), items of each.
    """

    value: float
    classes: np.ndarray
    per_class: np.ndarray
    counts: np.ndarray


def best_classes(similarity: ArrayLike) -> list[np.ndarray]:
    """For each query the classes at its highest similarity, int64: one, or several that tie exactly.

    Args:
        similarity: real (Q, C), higher is nearer. NaN is refused.
    """
    scores = np.asarray(similarity)
    if scores.ndim != 2 or scores.dtype.kind not in "iuf" or 0 in scores.shape:
        raise LimbeckError(f"similarity: is {scores.dtype} {scores.shape}, expected real numbers (Q, C)")
    best = scores.max(axis=1, keepdims=True)
    if best.dtype.kind == "f" and np.isnan(best).any():
        raise LimbeckError("similarity: holds NaN; see what the encoder was given")
    query, chosen = np.nonzero(scores == best)
    return np.split(chosen.astype(np.int64), np.flatnonzero(np.diff(query)) + 1)


def top1(predicted: ArrayLike | Sequence[ArrayLike], true: ArrayLike) -> Accuracy:
    """Share of items whose predicted class is the true one, in expectation over ties.

    Args:
        predicted: class number of each item, int (Q,); or for each item the several classes that tie for the
            first place (`best_classes`).
        true: class number of each item, int (Q,).
    """
    item, chosen, share, wanted = flat_predictions(predicted, true)
    right = np.bincount(item, weights=share * (chosen == wanted[item]), minlength=len(wanted))
    return Accuracy(float(right.mean()), right)


def mean_per_class(predicted: ArrayLike | Sequence[ArrayLike], true: ArrayLike) -> ClassAccuracy:
    """Mean over classes of the share of right items, every class counting alike; arguments as in `top1`.

    This is what MERU and HyCoCLIP report as zero-shot accuracy (torchmetrics' macro average). Classes
    without an item are left out of the mean.
    """
    right = top1(predicted, true).per_query
    classes, member, counts = np.unique(np.asarray(true), return_inverse=True, return_counts=True)
    per_class = np.bincount(member, weights=right) / counts
    return ClassAccuracy(float(per_class.mean()), classes.astype(np.int64), per_class, counts)


def flat_predictions(
    predicted: ArrayLike | Sequence[ArrayLike], true: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both forms of predictions as P of them in a row: (item (P,), class (P,), share (P,), true (Q,)).

    The shares of an item's predictions are equal and add up to 1.

    Raises:
        LimbeckError: no items, numbers that are no whole ones from 0, not one prediction an item or more.
    """
    wanted = np.asarray(true)
    if wanted.ndim != 1 or not wanted.size or wanted.dtype.kind not in "iu" or wanted.min() < 0:
        raise LimbeckError(f"true: is {wanted.dtype} {wanted.shape}, expected one class number an item")
    if len(predicted) != len(wanted):  # type: ignore[arg-type]
        raise LimbeckError(
            f"predicted: {len(predicted)} predictions for {len(wanted)} items"  # type: ignore[arg-type]
        )
    parts = [np.atleast_1d(np.asarray(part)) for part in predicted]  # type: ignore[union-attr]
    counts = np.array([part.size for part in parts])
    chosen = np.concatenate(parts)
    if not counts.all() or chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.min() < 0:
        raise LimbeckError("predicted: give each item a class number, or a list of those that tie")
    item = np.repeat(np.arange(len(parts)), counts)
    return item, chosen, 1.0 / counts[item], wanted
