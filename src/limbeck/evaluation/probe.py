"""Linear probe: logistic regression on frozen image features before the lift (scikit-learn)."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.data.classes import class_names
from limbeck.errors import LimbeckError
from limbeck.evaluation.encode import encode_pictures
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.results import plain

if TYPE_CHECKING:
    from limbeck.data.pairs import Pairs
    from limbeck.data.protocol import Protocol
    from limbeck.encoders.dual import DualEncoder

CS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
"""Inverse strengths of the penalty; the best on validation is taken, the smaller on a tie."""


def linear_probe(
    model: DualEncoder, pairs: Pairs, protocol: Protocol, *, batch_size: int = 256
) -> tuple[Scores, dict[str, Any]]:
    """How much of the classes a linear map reads off the image tower.

    Features are those of the trunk, before the lift: the space plays no part. They are centred and divided by
    one scale of the training rows. C is chosen on the protocol's validation rows, without a refit.

    Args:
        model: the dual encoder.
        pairs: the data set, with the protocol's classes (section ``classification``), else with labels.
        protocol: its train, validation and query rows are used.
        batch_size: pictures in one forward pass.

    Returns:
        Group ``probe``. One class a row: ``top1`` and ``mean_per_class``, per query 1 or 0, None for a query
        without a class or of one that no training row has. Several labels a row: ``map``, one classifier a
        label, the mean over labels of the average precision of ranking the queries. Then what was chosen.

    Raises:
        LimbeckError: the extra ``probe`` is missing; train, validation or query rows lack classes or labels;
            fewer than two classes.
    """
    require("sklearn")
    train, held_out = protocol.validation_rows(pairs, protocol.split(pairs, "train"))
    rows = {"train": train, "validation": held_out, "query": protocol.split(pairs, "query")}
    single, targets = _targets(pairs, protocol, rows)
    features = {}
    for name, own in rows.items():
        side = encode_pictures(model, pairs, own, output="features", batch_size=batch_size)
        features[name] = np.asarray(side.points, np.float64)
    mean = features["train"].mean(axis=0)
    scale = float(features["train"].std()) or 1.0
    features = {name: (points - mean) / scale for name, points in features.items()}
    score = _single if single else _several
    trials = {c: score(features, targets, "validation", c) for c in CS}
    best = min(CS, key=lambda c: (-trials[c][0]["top1" if single else "map"], c))
    found, per_query = score(features, targets, "query", best)
    scores = Scores()
    scores.metrics["probe"] = found
    if per_query is not None:
        scores.per_query["probe"] = plain(per_query)
    used = {name: int((_known(targets[name])).sum()) for name in rows}
    return scores, {"c": best, "classes": len(np.unique(targets["train"])) if single else None, "rows": used}


def _targets(
    pairs: Pairs, protocol: Protocol, rows: dict[str, np.ndarray]
) -> tuple[bool, dict[str, np.ndarray]]:
    """Whether each row has one class; class numbers (n,), −1 for none, or bool labels (n, C)."""
    section = protocol.classification
    own = class_names(pairs, section.classes if section is not None else "label")
    if section is None and any(len(labels) > 1 for labels in pairs.labels_text):
        found = {name: pairs.labels(some).astype(bool) for name, some in rows.items()}
    else:
        names = {name: at for at, name in enumerate(sorted({name for name in own if name}))}
        found = {
            name: np.array([names.get(own[row] or "", -1) for row in some.tolist()], np.int64)
            for name, some in rows.items()
        }
    for name, values in found.items():
        if not _known(values).any():
            raise LimbeckError(
                f"{pairs.path}: --probe: not one of {len(values)} {name} rows has a class or label; "
                "import the data with labels, or leave --probe out"
            )
    single = found["train"].ndim == 1
    if single and len(np.unique(found["train"][_known(found["train"])])) < 2:
        raise LimbeckError(f"{pairs.path}: --probe: all training rows are of one class; it takes two")
    return single, found


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
    """Labels that no training row or no row of the part has, or that all have, are left out."""
    precision = require("sklearn.metrics").average_precision_score
    found = []
    for label in range(targets["train"].shape[1]):
        own, true = targets["train"][:, label], targets[part][:, label]
        if own.any() and not own.all() and true.any() and not true.all():
            fitted = _fit(features["train"], own, c)
            found.append(float(precision(true, fitted.decision_function(features[part]))))
    return {"map": float(np.mean(found)) if found else 0.0}, None


def _fit(features: np.ndarray, targets: np.ndarray, c: float) -> Any:
    model = require("sklearn.linear_model").LogisticRegression(C=c, max_iter=1000)
    with warnings.catch_warnings():
        # At a large C the last digits need more steps than they are worth.
        warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
        return model.fit(features, targets)


def require(module: str) -> Any:
    """A module of scikit-learn.

    Raises:
        LimbeckError: it is not installed; the message holds the line to type.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise LimbeckError('scikit-learn is not installed; type: pip install "limbeck[probe]"') from None
