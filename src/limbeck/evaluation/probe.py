"""Fit a linear probe: logistic regression on frozen image features before the lift (scikit-learn)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from limbeck.data.classes import class_names
from limbeck.errors import LimbeckError
from limbeck.evaluation.encode import encode_pictures
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.results import plain
from limbeck.optional_deps import require
from limbeck.typed import Json

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

    from limbeck.data.resolved_splits import ResolvedSplit, ResolvedSplits
    from limbeck.encoders.dual import DualEncoder

CS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
"""Inverse penalty strengths to try; the one with the best validation score is used, on a tie the smallest."""


def linear_probe(
    model: DualEncoder, splits: ResolvedSplits, *, batch_size: int = 256
) -> tuple[Scores, dict[str, Json]]:
    """Measure how well a linear classifier reads the classes from the image features.

    The features are those before the lift, so the space has no effect. They are centred on the mean and
    divided by the standard deviation (one number) of the training rows. C is selected on the protocol's
    validation rows, and the classifier is not fitted again on both.

    Args:
        model: the dual encoder.
        splits: train, validation and query rows with the protocol's classes (section ``classification``) or
            else with labels.
        batch_size: pictures per forward pass.

    Returns:
        Group ``probe``. With one class per row: ``top1`` and ``mean_per_class``; per query 1 or 0, and None
        for a query without a class or with a class that no training row has. With several labels per row:
        ``map``, with one classifier per label, the mean over labels of the average precision of the ranked
        queries. The second value holds the selected C, the number of classes and the row counts.

    Raises:
        LimbeckError: the extra ``probe`` is not installed; the train, validation or query rows lack classes
            or labels; there are fewer than two classes.
    """
    require("sklearn")
    train, held_out = splits.held_out
    parts = {"train": train, "validation": held_out, "query": splits.query}
    single, targets = _targets(splits, parts)
    features = {}
    for name, part in parts.items():
        side = encode_pictures(model, splits.pairs, part.rows, output="features", batch_size=batch_size)
        features[name] = np.asarray(side.points, np.float64)
    mean = features["train"].mean(axis=0)
    scale = float(features["train"].std()) or 1.0
    features = {name: (points - mean) / scale for name, points in features.items()}
    score = _single if single else _several
    trials = {c: score(features, targets, "validation", c) for c in CS}
    best = min(CS, key=lambda c: (-trials[c][0]["top1" if single else "map"], c))
    metrics, per_query = score(features, targets, "query", best)
    scores = Scores()
    scores.metrics["probe"] = metrics
    if per_query is not None:
        scores.per_query["probe"] = plain(per_query)
    used = {name: int((_known(targets[name])).sum()) for name in parts}
    return scores, {"c": best, "classes": len(np.unique(targets["train"])) if single else None, "rows": used}


def _targets(splits: ResolvedSplits, parts: dict[str, ResolvedSplit]) -> tuple[bool, dict[str, np.ndarray]]:
    """Return whether each row has one class, and the targets: numbers (n,), −1 for none, or bool (n, C)."""
    pairs, section = splits.pairs, splits.protocol.classification
    row_classes = class_names(pairs, section.classes if section is not None else "label")
    if section is None and any(len(labels) > 1 for labels in pairs.labels_text):
        targets = {name: part.labels for name, part in parts.items()}
    else:
        names = {name: at for at, name in enumerate(sorted({name for name in row_classes if name}))}
        targets = {
            name: np.array([names.get(row_classes[row] or "", -1) for row in part.rows.tolist()], np.int64)
            for name, part in parts.items()
        }
    for name, values in targets.items():
        if not _known(values).any():
            raise LimbeckError(
                f"{pairs.path}: --probe: none of {len(values)} {name} rows has a class or label; "
                "import the data with labels, or leave --probe out",
                code="E-DATA-LABELS",
            )
    single = targets["train"].ndim == 1
    if single and len(np.unique(targets["train"][_known(targets["train"])])) < 2:
        raise LimbeckError(
            f"{pairs.path}: --probe: all training rows have the same class; use data with more classes",
            code="E-DATA-LABELS",
        )
    return single, targets


def _known(targets: np.ndarray) -> np.ndarray:
    return np.asarray(targets >= 0 if targets.ndim == 1 else targets.any(axis=1))


def _single(
    features: dict[str, np.ndarray], targets: dict[str, np.ndarray], part: str, c: float
) -> tuple[dict[str, float], np.ndarray | None]:
    keep = _known(targets["train"])
    fitted = _fit(features["train"][keep], targets["train"][keep], c)
    judged = np.isin(targets[part], fitted.classes_) & _known(targets[part])
    if not judged.any():
        return {"top1": 0.0, "mean_per_class": 0.0}, np.full(len(judged), np.nan)
    true = targets[part][judged]
    right = fitted.predict(features[part][judged]) == true
    by_class = [float(right[true == one].mean()) for one in np.unique(true)]
    per_query = np.full(len(judged), np.nan)
    per_query[judged] = right
    return {"top1": float(right.mean()), "mean_per_class": float(np.mean(by_class))}, per_query


def _several(
    features: dict[str, np.ndarray], targets: dict[str, np.ndarray], part: str, c: float
) -> tuple[dict[str, float], np.ndarray | None]:
    """Score each label; skip labels that no row or every row of the training rows or of ``part`` has."""
    precision = require("sklearn.metrics").average_precision_score
    precisions = []
    for label in range(targets["train"].shape[1]):
        train, true = targets["train"][:, label], targets[part][:, label]
        if train.any() and not train.all() and true.any() and not true.all():
            fitted = _fit(features["train"], train, c)
            precisions.append(float(precision(true, fitted.decision_function(features[part]))))
    return {"map": float(np.mean(precisions)) if precisions else 0.0}, None


def _fit(features: np.ndarray, targets: np.ndarray, c: float) -> LogisticRegression:
    model = require("sklearn.linear_model").LogisticRegression(C=c, max_iter=1000)
    with warnings.catch_warnings():
        # At a large C the fit stops at max_iter; more steps would change the last digits only.
        warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
        return model.fit(features, targets)
