"""Fits the curves of `limbeck.index.confidence` to an index."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from limbeck.codes import sign_codes
from limbeck.errors import LimbeckError
from limbeck.index.confidence import DEPTH, GROWTH, Calibration, Curve, Margins, features, place
from limbeck.index.encoded import Encoded
from limbeck.index.query import SearchOptions
from limbeck.index.segments import plain_values, taken
from limbeck.index.store import IndexStore
from limbeck.notices import say
from limbeck.search.hit import Found
from limbeck.search.phrases import PHRASES
from limbeck.search.queries import Term
from limbeck.search.relevance import Item, Relevance
from limbeck.search.searcher import HIDDEN, Searcher

if TYPE_CHECKING:
    from limbeck.encoding import Source

QUERIES = 600
LEAST_ITEMS = 200  # an index of fewer items is not calibrated
_LEAST_QUERIES, _LEAST_RIGHT = 100, 10
_SAMPLE = 5_000  # items whose words are counted
_RIDGE = 1e-3
_EDGES = (0, 0.01, 0.02, *np.linspace(0.05, 0.95, 19), 0.98, 0.99, 1)  # ranges of hits, finer at both ends
_SIGNS = np.array([0, 1, 1, -1])  # of the weights: nearer, a greater margin and an earlier rank are no worse


@dataclass(frozen=True)
class Asked:
    """Holds items whose texts become queries: points (n, width), columns, and rows (-1 outside the index)."""

    points: np.ndarray
    items: Sequence[Item]
    rows: np.ndarray

    @classmethod
    def of_index(cls, store: IndexStore) -> Asked:
        """Return random items of an index."""
        rows = _some_rows(store, 4 * QUERIES, seed=0)
        return cls(store.points_at(rows), store.metadata(rows, HIDDEN), rows)

    @classmethod
    def of_source(cls, store: IndexStore, source: Source | Encoded, rows: np.ndarray | None) -> Asked:
        """Return random items of a collection that is not in the index, encoded by the index's model."""
        from limbeck.search.encoders import own_encoder
        from limbeck.search.rows import open_rows

        if not isinstance(source, Encoded):
            every = np.arange(len(source)) if rows is None else rows
            rows = np.sort(np.random.default_rng(0).permutation(every)[: 4 * QUERIES])
        return cls.of_batches(open_rows(source, own_encoder(store), None, rows=rows)[0])

    @classmethod
    def of_batches(cls, batches: Iterable[tuple[np.ndarray, pa.Table]]) -> Asked:
        """Return a random part of (points, items) batches that are not in the index."""
        points, tables = zip(*batches, strict=True)
        array = np.concatenate(points)
        keep = np.random.default_rng(0).permutation(len(array))[: 4 * QUERIES]
        table = taken(pa.concat_tables(tables), keep)
        columns = [plain_values(column) for column in table.columns]
        items = [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
        return cls(array[keep], items, np.full(len(keep), -1))


def calibrate(index: Searcher, held_out: Asked | None = None) -> Calibration:
    """Fit and store the calibration of an index.

    The queries stand for items: a text of the item, and its stored point as a picture. By default they are
    random items of the index, each excluded from the hits of its own point. If the model was trained on these
    items, it finds them too well; then give items that are not in the index.

    Args:
        index: an opened index of at least `LEAST_ITEMS` items.
        held_out: items that are not in the index.

    Returns:
        The calibration. It has no curve for queries of which neither the items' columns nor chance can tell
        whether their hits are right; without any curve, nothing is stored.

    Raises:
        LimbeckError: the index has too few items.
    """
    store = index.store
    if len(index) < LEAST_ITEMS:
        raise LimbeckError(
            f"{store.path}: has {len(index)} items; a calibration needs at least {LEAST_ITEMS}",
            code="E-INDEX-EMPTY",
        )
    relevance = Relevance(store.metadata(_some_rows(store, _SAMPLE, seed=1), HIDDEN))
    asked = held_out or Asked.of_index(store)
    curves = {"image": _picture_curve(index, relevance, asked)}
    reader = store.encoder_for("text")
    if reader is not None:
        curves["text"] = _text_curve(index, relevance, asked, reader[1].name)
    found = {modality: curve for modality, curve in curves.items() if curve is not None}
    calibration = Calibration(len(index), store.manifest.space_id, found)
    if found:
        calibration.save(store.path)
    else:
        place(store.path).unlink(missing_ok=True)
    index.calibration = calibration if found else None
    return calibration


def calibrate_new(index: Searcher) -> None:
    """Calibrate an index that was just built, if it has a query encoder and enough items."""
    place(index.store.path).unlink(missing_ok=True)  # of an index that this one replaced
    if index.store.manifest.encoders and len(index) >= LEAST_ITEMS:
        _calibrate_or_say(index)


def calibrate_grown(path: Path | str) -> None:
    """Calibrate an index again that has a calibration and has since grown or shrunk by half."""
    store = IndexStore.open(path)
    known = Calibration.load(store)
    if known is not None and not 1 / GROWTH < len(store) / known.items < GROWTH:
        _calibrate_or_say(Searcher(store))


def _calibrate_or_say(index: Searcher) -> None:
    """Calibrate an index that is already committed: an error is a note."""
    try:
        calibrate(index)
    except LimbeckError as error:
        say(
            f"{index.store.path}: confidence is not calibrated, see limbeck index calibrate ({error.message})"
        )


def _some_rows(store: IndexStore, count: int, seed: int) -> np.ndarray:
    alive = np.arange(store.rows) if store.alive is None else np.flatnonzero(store.alive)
    return np.random.default_rng(seed).permutation(alive)[:count]


def _picture_curve(index: Searcher, relevance: Relevance, asked: Asked) -> Curve | None:
    """Fit the curve of pictures to stored points."""
    texts: list[str | None] = [None] * min(QUERIES, len(asked.items))
    some = Asked(asked.points[: len(texts)], asked.items[: len(texts)], asked.rows[: len(texts)])
    found = index.find(some.points, SearchOptions(DEPTH, exclude=some.rows))
    curve = _relevance_curve(index, relevance, some, texts, found, None)
    return curve or _chance_curve(index, some.points, found, None)


def _text_curve(index: Searcher, relevance: Relevance, asked: Asked, encoder: str) -> Curve | None:
    """Fit the curve of texts to the texts of items, or to phrases where the items have none.

    It is None if the encoder knows neither.
    """
    rng = np.random.default_rng(2)
    texts: list[str] = []
    at: list[int] = []
    for number, item in enumerate(asked.items if relevance.basis is not None else ()):
        text = relevance.text(item, rng)
        if text is not None and len(texts) < QUERIES and _is_known(index, text):
            texts.append(text)
            at.append(number)
    if len(texts) >= _LEAST_QUERIES:
        points, found = _answers(index, texts)
        stood_for = Asked(points, [asked.items[number] for number in at], asked.rows[at])
        curve = _relevance_curve(index, relevance, stood_for, texts, found, encoder)
        if curve is not None:
            return curve
    phrases = [text for text in PHRASES if _is_known(index, text)]
    return (
        _chance_curve(index, *_answers(index, phrases), encoder) if len(phrases) >= _LEAST_QUERIES else None
    )


def _answers(index: Searcher, texts: Sequence[str]) -> tuple[np.ndarray, list[Found]]:
    """Return the points (n, width) of texts and their hits, found as the index searches by default."""
    queries = [[Term(text)] for text in texts]
    options = index.settled(queries, SearchOptions(DEPTH))
    points, floats = index.encode_queries(queries, asymmetric=bool(options.asymmetric))
    return sign_codes(points) if options.asymmetric else points, index.find(
        points, options, embeddings=floats
    )


def _is_known(index: Searcher, text: str) -> bool:
    try:
        index.check([Term(text)])
    except LimbeckError:  # no word of it is known
        return False
    return True


def _relevance_curve(
    index: Searcher,
    relevance: Relevance,
    asked: Asked,
    texts: Sequence[str | None],
    found: Sequence[Found],
    encoder: str | None,
) -> Curve | None:
    """Fit a logistic regression to the hits of queries; None if hardly one of them is right."""
    if relevance.basis is None:
        return None
    items = iter(index.store.metadata(np.concatenate([one.rows for one in found]), HIDDEN))
    margins = Margins(index.store)
    means, spreads = margins.background(asked.points)
    rows, right = [], []
    for q, one in enumerate(found):
        near = margins.nearness(asked.points[q : q + 1], one.rows)
        order = np.argsort(-near, kind="stable")  # the hits may be ordered by other numbers
        rows.append(features(near[order], (near[order] - means[q]) / spreads[q]))
        right.append(relevance.judge(asked.items[q], texts[q], [next(items) for _ in one.rows])[order])
    seen, judged = np.concatenate(rows), np.concatenate(right)
    if judged.sum() < _LEAST_RIGHT:
        return None
    answers = judged.astype(np.float64)
    weights = fit_logistic(seen, answers)
    sums = seen @ weights
    cuts = (np.array(_EDGES[1:-1]) * len(sums)).astype(int)
    parts = [part for part in np.split(np.argsort(sums, kind="stable"), cuts) if len(part)]
    shares = _rising(
        np.array([answers[part].mean() for part in parts]), np.array([len(part) for part in parts])
    )
    knots = _knots(np.array([sums[part].mean() for part in parts]), shares)
    share = round(float(answers.mean()), 4)
    return Curve("relevance", relevance.right, encoder, len(found), share, weights.tolist(), knots)


def _knots(places: np.ndarray, heights: np.ndarray) -> list[list[float]]:
    return [
        [round(place, 6), round(height, 4)]
        for place, height in zip(places.tolist(), heights.tolist(), strict=True)
    ]


def fit_logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the weights (4,) of a logistic regression on `features` with a slight ridge.

    A weight of the wrong sign (`_SIGNS`) becomes 0, the largest first, and the others are fitted again.

    Args:
        x: (n, 4).
        y: 0 or 1, (n,).
    """
    used = np.ones(4, bool)
    while True:
        weights = np.zeros(4)
        weights[used] = _newton(x[:, used], y)
        wrong = np.where(weights * _SIGNS < 0, np.abs(weights) * x.std(axis=0), -1)
        if wrong.max() < 0:
            return weights
        used[np.argmax(wrong)] = False


def _newton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the weights (D,) of a logistic regression by Newton's method.

    The first column is constant and is not penalised. The others are scaled to unit variance.
    """
    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    centre[0], scale[0] = 0, 1
    scaled, weights = (x - centre) / scale, np.zeros(x.shape[1])
    penalty = _RIDGE * np.diag([0.0] + [1.0] * (x.shape[1] - 1))
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(scaled @ weights, -500, 500)))
        slope = scaled.T @ (p - y) / len(y) + penalty @ weights
        bend = (scaled * (p * (1 - p))[:, None]).T @ scaled / len(y) + penalty
        step = np.linalg.solve(bend + 1e-9 * np.eye(len(bend)), slope)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    plain = weights / scale
    plain[0] -= (weights[1:] * centre[1:] / scale[1:]).sum()
    return plain


def _chance_curve(
    index: Searcher, points: np.ndarray, found: Sequence[Found], encoder: str | None
) -> Curve | None:
    """Fit one minus the local false discovery rate of the margins of hits.

    The bulk of a query's margins is taken as normal, with the median and the quartiles of the sample. Hits in
    a range of margins are compared with the number that this bulk would give among all items. The curve is
    None if even the nearest hits hardly stand out, as where half of the items are right.
    """
    margins = Margins(index.store)
    means, spreads = margins.background(points)
    low, middle, high = np.quantile(margins.standardised(points), (0.25, 0.5, 0.75))
    spread = max((high - low) / 1.349, 1e-9)  # the quartiles of a normal distribution are 1.349 apart
    near = [np.sort(margins.nearness(points[q : q + 1], one.rows))[::-1] for q, one in enumerate(found)]
    hits = [(one - means[q]) / spreads[q] for q, one in enumerate(near)]
    edges = np.unique(np.quantile(np.concatenate(hits), np.linspace(0, 1, 41)))
    seen, chance = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for one in hits:
        seen += np.histogram(one, edges)[0]
        above = np.maximum(edges, one[-1])  # hits below the last one were not fetched
        tails = np.array([_upper_tail((edge - middle) / spread) for edge in above])
        chance += len(index) * (tails[:-1] - tails[1:])
    sure = 1 - np.minimum(1, chance / np.maximum(seen, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    rising = _rising(sure, np.maximum(seen, 1))
    if rising[-1] < 0.5:
        return None
    right = "it is nearer than chance explains"
    return Curve("chance", right, encoder, len(points), None, [0.0, 0.0, 1.0, 0.0], _knots(centres, rising))


def _upper_tail(x: float) -> float:
    """Return the probability that a standard normal number exceeds x."""
    return math.erfc(x / math.sqrt(2)) / 2


def _rising(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rising sequence nearest to values (n,) by weighted squares (pool adjacent violators)."""
    means: list[float] = []
    sizes: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        means.append(value)
        sizes.append(weight)
        lengths.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mean, size, length = means.pop(), sizes.pop(), lengths.pop()
            means[-1] = (means[-1] * sizes[-1] + mean * size) / (sizes[-1] + size)
            sizes[-1] += size
            lengths[-1] += length
    return np.repeat(means, lengths)
