"""The probability that a hit is right, from curves that `limbeck.search.calibrate` fits to an index.

A curve sees how near a hit is, its rank, and its margin: how much nearer it is than random items, in standard
deviations of the query's nearness to them. There are two kinds of curve:

* ``relevance``: a logistic regression on hits of held-out queries that the items' own captions, labels or
  tags judge; ranges of its output then get the share of right hits in them, forced to rise. The confidence is
  the probability of what `Curve.right` names.
* ``chance``: one minus the local false discovery rate (Efron, "Size, power and false discovery rates",
  Annals of Statistics 2007): the share of hits of this margin that the bulk of the items does not explain.
  It needs no annotation, and says that a hit is not chance, not that it is right.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.index.store import IndexStore
from limbeck.typed import typed

FORMAT = 1
DEPTH = 30  # hits per query that a curve is fitted to
GROWTH = 1.5  # an index that has grown by half is calibrated again
_SAMPLE = 512  # random items that a margin is measured against


@dataclass(frozen=True)
class Curve:
    """Maps nearness, margin and rank of a hit to a probability.

    Attributes:
        kind: "relevance" or "chance".
        right: what a hit has to be, in words.
        encoder: the query encoder that encoded the queries, as the manifest names it; None for stored points.
        queries: the number of queries.
        share: the share of their hits that are right; None for ``chance``.
        weights: one for each of `features`; a hit that is farther or later never gets a higher sum.
        knots: [sum, probability], both rising, with straight lines between them.
    """

    kind: str
    right: str
    encoder: str | None
    queries: int
    share: float | None
    weights: list[float]
    knots: list[list[float]]

    def describe(self) -> str:
        """Return the kind, what is right, and the basis, in one line."""
        share = "" if self.share is None else f"; {self.share:.0%} of their first {DEPTH} hits are right"
        return f"{self.kind}, a hit is right if {self.right} ({self.queries} queries{share})"

    def of(self, nearness: np.ndarray, margins: np.ndarray) -> np.ndarray:
        """Return the probability of each hit of one query, (n,), which never rises with the distance."""
        order = np.argsort(-nearness, kind="stable")
        sums = features(nearness[order], margins[order]) @ np.array(self.weights)
        places, heights = np.array(self.knots).T
        result = np.empty(len(order))
        result[order] = np.interp(sums, places, heights)
        return result


def features(nearness: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Return what a logistic regression sees of the hits of a query, nearest first: (n, 4)."""
    ranks = np.log1p(np.minimum(np.arange(len(nearness)), DEPTH))
    return np.column_stack([np.ones(len(nearness)), nearness, margins, ranks])


@dataclass(frozen=True)
class Calibration:
    """Holds the curves of an index, for queries that are a "text" or a picture ("image").

    Attributes:
        items: the number of items when the curves were fitted.
        space_id: the identity of the space of the index.
        curves: the curve of each modality that has one.
    """

    items: int
    space_id: str | None
    curves: dict[str, Curve]

    def save(self, path: Path) -> None:
        """Write the calibration of an index; it replaces an earlier one."""
        place(path).parent.mkdir(exist_ok=True)
        write_json(place(path), {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, store: IndexStore) -> Calibration | None:
        """Read the calibration of an index, without curves of other encoders; None if it has none.

        Raises:
            LimbeckError: the file is damaged or newer.
        """
        file = place(store.path)
        if not file.is_file():
            return None
        value = read_json(file)
        if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
            raise LimbeckError(
                f"{file}: format {value['format']} is newer than this version; upgrade limbeck",
                code="E-FILE-VERSION",
            )
        known = {name: value[name] for name in ("items", "space_id", "curves") if name in value}
        found = typed(cls, known, file, "remove it or run limbeck index calibrate")
        for name, curve in found.curves.items():
            if len(curve.weights) != 4 or not curve.knots or any(len(knot) != 2 for knot in curve.knots):
                raise LimbeckError(
                    f"{file}: the curve {name!r} is incomplete; remove it or run limbeck index calibrate",
                    code="E-FILE-FIELD",
                )
        if found.space_id != store.manifest.space_id:
            return None
        encoders = {entry.name for entry in store.manifest.encoders} | {None}
        fitting = {name: curve for name, curve in found.curves.items() if curve.encoder in encoders}
        return cls(found.items, found.space_id, fitting) if fitting else None


def place(path: Path) -> Path:
    """Return the file of the calibration of an index; a lost one can be made again."""
    return Path(path) / "derived" / "confidence.json"


class Margins:
    """Measures how far the hits of a query stand out from random items of the index.

    Attributes:
        rows: the rows of the random items, ascending.
    """

    def __init__(self, store: IndexStore) -> None:
        self._space = store.space
        alive = np.arange(store.rows) if store.alive is None else np.flatnonzero(store.alive)
        rows = np.random.default_rng(0).choice(alive, min(_SAMPLE, len(alive)), replace=False)
        self.rows = np.sort(rows)
        self._points = store.points_at(self.rows)
        self.at = store.points_at

    @functools.cached_property
    def _items(self) -> np.ndarray:
        return self._space.index_items(self._points)

    def _nearness(self, points: np.ndarray) -> np.ndarray:
        """Return the nearness of the queries to random items, float64 (Q, sample)."""
        space = self._space
        if space.storage == "codes":
            return space.similarity(points, self._points).astype(np.float64)
        return space.score_sign * space.score(space.index_queries(points) @ self._items.T).astype(np.float64)

    def background(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the queries' nearness to random items, (Q,) each."""
        nearness = self._nearness(points)
        return nearness.mean(axis=1), np.maximum(nearness.std(axis=1), 1e-9)

    def standardised(self, points: np.ndarray) -> np.ndarray:
        """Return the margins of the random items themselves, (Q, sample)."""
        means, spreads = self.background(points)
        return (self._nearness(points) - means[:, None]) / spreads[:, None]

    def nearness(self, point: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the nearness of a point (1, width) to items of the index, float64 (n,)."""
        space = self._space
        return space.score_sign * space.rescore(point, self.at(rows)).astype(np.float64)


def confidences(
    calibration: Calibration | None,
    margins: Margins,
    points: np.ndarray,
    rankings: Sequence[np.ndarray],
    modalities: Sequence[str | None],
) -> list[np.ndarray | None]:
    """Return the probabilities of the hits of several queries; None for queries without a curve.

    Args:
        calibration: the calibration of the index, if it has one.
        margins: the margins of the index.
        points: (Q, width) the queries as the index stores points.
        rankings: the rows of the hits of each query.
        modalities: "text", "image" or None for each query.
    """
    curves = {} if calibration is None else calibration.curves
    known = [curves.get(modality or "") for modality in modalities]
    if not any(known):
        return [None] * len(known)
    means, spreads = margins.background(points)
    found: list[np.ndarray | None] = []
    for q, (curve, rows) in enumerate(zip(known, rankings, strict=True)):
        if curve is None:
            found.append(None)
            continue
        near = margins.nearness(points[q : q + 1], rows)
        found.append(curve.of(near, (near - means[q]) / spreads[q]))
    return found
