"""Folds near-duplicates among the hits of a search into one hit (ours).

Two items are near-duplicates if they are much nearer to each other than two random items of the index: at
most a quarter of the median distance for vectors, and an eighth for codes, whose distance is coarse (4 of 64
bits where random codes differ in 32). On Flickr8k, vectors find 82 to 95 % of the copies that
were scaled, cut or compressed again, and 64-bit codes find 69 to 80 %. Of the ten nearest other pictures,
vectors take none for copies and codes 2 % (benchmarks/alike.py). If the index keeps embeddings, their
distance decides, which tells items with equal codes apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from limbeck.index.embeddings import embeddings_at
from limbeck.index.query import Answer, SearchOptions
from limbeck.index.store import IndexStore
from limbeck.spaces import Space, Sphere

SHARES = {"codes": 1 / 8, "vectors": 1 / 4}  # of the median distance of random pairs
_PAIRS = 1000
_GROWTH = 4
Find = Callable[[np.ndarray, SearchOptions, np.ndarray | None], list[Answer]]


@dataclass(frozen=True)
class Folded:
    """Holds the groups of one query: the first item of each, and the rows that are folded into it."""

    scores: np.ndarray
    rows: np.ndarray
    alike: list[np.ndarray]


class Alike:
    """Tells which items of an index are near-duplicates.

    Args:
        store: the index.
        kept: compare by the kept embeddings, if there are some; else by the points.

    Attributes:
        share: the largest distance of near-duplicates, as a share of the median distance of random pairs.
        within: that distance: bits, chords of unit vectors, or that of the space.
    """

    def __init__(self, store: IndexStore, *, kept: bool = True) -> None:
        self._store, told = store, store.kept if kept else None
        self._floats = told is not None
        self._space: Space = store.space if told is None else told.space or Sphere(told.width)
        self.share = SHARES[self._space.storage]
        alive = np.arange(store.rows) if store.alive is None else np.flatnonzero(store.alive)
        rng = np.random.default_rng(0)
        self.within = 0.0
        if len(alive) > 1:
            one = rng.integers(0, len(alive), _PAIRS)
            other = (one + rng.integers(1, len(alive), _PAIRS)) % len(alive)  # never the same item
            distances = self.distances(self._points(alive[one]), self._points(alive[other]))
            known = distances[np.isfinite(distances)]
            self.within = self.share * float(np.median(known)) if len(known) else 0.0

    def _points(self, rows: np.ndarray) -> np.ndarray:
        """Return what is compared, (n, width); NaN for items without an embedding."""
        if not self._floats:
            return self._store.points_at(rows)
        found = embeddings_at(self._store, rows, lenient=True)
        known = ~np.isnan(found).any(axis=1)
        found[known] = self._space.restored(found[known])
        return found

    def distances(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the distance of each pair (n,) of rows; infinity if one has no embedding."""
        result = np.full(len(other), np.inf)
        one = np.broadcast_to(one, other.shape)
        known = np.ones(len(other), bool)
        if self._floats:
            known = ~(np.isnan(one).any(axis=1) | np.isnan(other).any(axis=1))
        scores = self._space.rescore(one[known], other[known])
        unit = self._space.score_name == "similarity"
        result[known] = np.sqrt(np.maximum(2 - 2 * scores, 0)) if unit else scores
        return result

    def fold(self, scores: np.ndarray, rows: np.ndarray, k: int | None) -> tuple[Folded, bool]:
        """Fold a ranking into at most k groups; an item joins the first group whose first item it resembles.

        Returns:
            The groups, and whether a further hit exists that opens group k + 1, so that more hits change
            nothing.
        """
        points, free = self._points(rows), np.ones(len(rows), bool)
        firsts: list[int] = []
        members: list[np.ndarray] = []
        while free.any() and (k is None or len(firsts) < k):
            first = int(np.argmax(free))
            near = np.flatnonzero(free)
            near = near[self.distances(points[first], points[near]) <= self.within]
            near = near[near != first]
            free[near] = free[first] = False
            firsts.append(first)
            members.append(near)
        end = int(np.argmax(free)) if free.any() else len(rows)
        return Folded(scores[firsts], rows[firsts], [rows[near[near < end]] for near in members]), bool(
            free.any()
        )


def find_folded(
    alike: Alike, find: Find, points: np.ndarray, options: SearchOptions, embeddings: np.ndarray | None
) -> list[Folded]:
    """Search for several points; return k groups for each, or fewer if the index has fewer.

    More and more hits are fetched until the group after the last one is seen, so the groups do not depend on
    how many are fetched at once. The arguments are those of
    `limbeck.index.engine_selection.Engines.find`.
    """
    found: dict[int, Folded] = {}
    k = options.k if options.radius is not None else options.wanted
    todo, wanted = np.arange(len(points)), 2 * options.wanted + 8
    while todo.size:
        more = replace(options, k=None if options.radius is not None else wanted, exclude=_of(options, todo))
        if options.rerank is not None:
            more = replace(more, rerank=max(options.rerank, wanted))
        answers = find(points[todo], more, None if embeddings is None else embeddings[todo])
        still = []
        for q, (scores, rows) in zip(todo.tolist(), answers, strict=True):
            found[q], settled = alike.fold(scores, rows, k)
            if not settled and options.radius is None and len(rows) == wanted:
                still.append(q)
        todo, wanted = np.array(still, dtype=np.int64), _GROWTH * wanted
    return [found[q] for q in range(len(points))]


def _of(options: SearchOptions, queries: np.ndarray) -> int | np.ndarray | None:
    """Return the excluded rows of some queries."""
    exclude = options.exclude
    return exclude[queries] if isinstance(exclude, np.ndarray) and exclude.ndim else exclude
