"""Score a split by shared labels: mAP in both directions, with its floor and its ceiling."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np

from limbeck.data.protocol import Direction
from limbeck.data.resolved_splits import ResolvedSplits
from limbeck.evaluation.asymmetric import AsymmetricHamming
from limbeck.evaluation.ceiling import label_codes
from limbeck.evaluation.results import plain
from limbeck.metrics import (
    MapRules,
    code_health,
    hamming_map,
    hamming_ndcg,
    precision_recall,
    ranking_map,
    ranking_ndcg,
)
from limbeck.metrics.empty import settle_empty
from limbeck.metrics.precision_recall import DEFAULT_NS
from limbeck.spaces import Space

QUERIES_AT_ONCE = 256
NDCG_AT = (100, 1000)
LOOKUP_RADIUS = 2


class SetName(StrEnum):
    """The pictures or the texts of a split: the name of a set of embeddings."""

    QUERY_IMAGE = "query_image"
    QUERY_TEXT = "query_text"
    DATABASE_IMAGE = "database_image"
    DATABASE_TEXT = "database_text"

    @property
    def part(self) -> Literal["query", "database"]:
        """The split of the set."""
        return "query" if self.startswith("query") else "database"


SIDES: dict[Direction, tuple[SetName, SetName]] = {
    "i2t": (SetName.QUERY_IMAGE, SetName.DATABASE_TEXT),
    "t2i": (SetName.QUERY_TEXT, SetName.DATABASE_IMAGE),
}


@dataclass(frozen=True)
class Labelled:
    """Embeddings with their labels.

    Attributes:
        points: embeddings in the stored form of the space, (N, width).
        labels: bool (N, C).
        trained: bool (N,), true for items that were in the training set; None where unknown.
        floats: the real numbers of queries before their signs, (N, bits); None where unknown.
    """

    points: np.ndarray
    labels: np.ndarray
    trained: np.ndarray | None = None
    floats: np.ndarray | None = None


def label_points(
    name: SetName,
    points: np.ndarray,
    rows: np.ndarray,
    splits: ResolvedSplits,
    floats: np.ndarray | None = None,
) -> Labelled:
    """Return points with the labels of their rows (N,); points of the database also get ``trained``.

    Raises:
        LimbeckError: no row has a label.
    """
    trained = np.isin(rows, splits.train.rows) if name.part == "database" else None
    return Labelled(points, splits.pairs.require_labels(rows), trained, floats)


@dataclass
class Scores:
    """The scores of an evaluation; its fields are those of `Result`."""

    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    per_query: dict[str, list[float | None]] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    health: dict[str, dict[str, float | list[float]]] = field(default_factory=dict)


def score_hashing(
    space: Space,
    sets: Mapping[SetName, Labelled],
    rules: MapRules,
    *,
    directions: Sequence[Direction] = ("i2t", "t2i"),
    ceiling: bool = True,
) -> Scores:
    """Compute mAP by shared labels, and the secondary metrics of hashing.

    Args:
        space: hash codes are ranked by Hamming distance. Vectors are ranked by their continuous similarity:
            an upper reference for codes that are quantized from them.
        sets: the sets of embeddings that the directions need (`SIDES`).
        rules: the rules of the mAP.
        directions: ``i2t`` (picture queries, text database), ``t2i`` (text queries, picture database).
        ceiling: also learn codes from the labels (hash codes only; this takes a few seconds).

    Returns:
        Per direction: ``map``; ``floor`` (all codes equal); ``ceiling``; ``map_unseen`` (without the trained
        items of the database, where some are known); ``map_asymmetric`` (real numbers of the queries, where
        given, against the codes of the items); ``without_relevant`` (the number of queries that share no
        label with any item, if there are any); ``ndcg@k``, graded by the number of shared labels;
        ``ndcg_floor@100`` (all codes equal); and the per-query values. Hash codes also get the curves,
        ``p@100``, and the look-up within Hamming radius 2: ``lookup_precision``, ``lookup_recall`` and
        ``lookup_answered`` (share of queries with at least one hit).

    Raises:
        LimbeckError: labels and points do not fit together, or no query has a relevant item.
    """
    scores = Scores()
    bits = 8 * space.width if space.storage == "codes" else None
    for direction in directions:
        queries, items = (sets[name] for name in SIDES[direction])
        value, per_query = mean_precision(space, queries, items, rules)
        metrics = {"map": value, "floor": _floor(queries, items, rules)}
        if lost := int((~(queries.labels & items.labels.any(axis=0)).any(axis=1)).sum()):
            metrics["without_relevant"] = float(lost)
        if ceiling and bits is not None:
            metrics["ceiling"] = _ceiling(queries.labels, items.labels, bits, rules)
        unseen = _unseen(items)
        if unseen is not None:
            metrics["map_unseen"] = mean_precision(space, queries, unseen, rules)[0]
        if bits is not None and queries.floats is not None:
            real = Labelled(queries.floats, queries.labels)
            metrics["map_asymmetric"] = mean_precision(AsymmetricHamming(bits), real, items, rules)[0]
        scores.metrics[direction] = metrics
        scores.per_query[direction] = plain(per_query)
        scores.curves[direction] = {} if bits is None else _curves(queries, items)
        if bits is not None:
            metrics |= _look_up(scores.curves[direction])
        metrics |= _graded(space, queries, items)
    for name, labelled in sets.items():
        scores.health[name] = {} if bits is None else _health(labelled.points)
    return scores


def mean_precision(
    space: Space, queries: Labelled, items: Labelled, rules: MapRules
) -> tuple[float, np.ndarray]:
    """Return the mAP of one direction and its per-query values (Q,); see `score_hashing`."""
    if space.storage == "codes":
        result = hamming_map(queries.points, items.points, queries.labels, items.labels, **rules)
        return result.value, result.per_query
    values = []
    block_rules: MapRules = {**rules, "empty": "zero"}
    for similarity, shared in _blocks(space, queries, items):
        block = ranking_map(similarity, shared > 0, **block_rules)
        values.append(np.where(shared.any(axis=1), block.per_query, np.nan))
    mean, per_query, _ = settle_empty(np.concatenate(values), rules["empty"])
    return mean, per_query


def _blocks(space: Space, queries: Labelled, items: Labelled) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield similarities and numbers of shared labels (block, N) in blocks of queries.

    The rule for queries without a relevant item applies to all blocks together.
    """
    for start in range(0, len(queries.points), QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        shared = queries.labels[rows].astype(np.float32) @ items.labels.T.astype(np.float32)
        yield space.similarity(queries.points[rows], items.points), shared


def _unseen(items: Labelled) -> Labelled | None:
    """Return the items that were not in the training set; None if that is unknown, none, or all of them."""
    if items.trained is None or not items.trained.any() or items.trained.all():
        return None
    keep = ~items.trained
    return Labelled(items.points[keep], items.labels[keep])


def _floor(queries: Labelled, items: Labelled, rules: MapRules) -> float:
    left, right = (np.zeros((len(part.points), 1), np.uint8) for part in (queries, items))
    return hamming_map(left, right, queries.labels, items.labels, **rules).value


_CEILINGS: dict[str, float] = {}


def _ceiling(query_labels: np.ndarray, item_labels: np.ndarray, bits: int, rules: MapRules) -> float:
    """Return the mAP of codes learnt from the labels; the process caches it for repeated evaluations."""
    digest = hashlib.sha256(repr((bits, sorted(rules.items()), query_labels.shape)).encode())
    digest.update(query_labels.tobytes() + item_labels.tobytes())
    key = digest.hexdigest()
    if key not in _CEILINGS:
        codes = label_codes(np.concatenate([query_labels, item_labels]), bits)
        split = len(query_labels)
        value = hamming_map(codes[:split], codes[split:], query_labels, item_labels, **rules).value
        _CEILINGS[key] = value
    return _CEILINGS[key]


def _curves(queries: Labelled, items: Labelled) -> dict[str, list[float]]:
    curve = precision_recall(queries.points, items.points, queries.labels, items.labels)
    kept = ("radii", "precision", "recall", "answered", "ns", "precision_at", "recall_at")
    return {name: np.round(getattr(curve, name), 6).tolist() for name in kept}


def _look_up(curves: Mapping[str, list[float]]) -> dict[str, float]:
    """Return P@100 and the scores of the look-up within `LOOKUP_RADIUS`."""
    radius = min(LOOKUP_RADIUS, len(curves["radii"]) - 1)
    lookup = {f"lookup_{name}": curves[name][radius] for name in ("precision", "recall", "answered")}
    return {"p@100": curves["precision_at"][DEFAULT_NS.index(100)]} | lookup


def _graded(space: Space, queries: Labelled, items: Labelled) -> dict[str, float]:
    """Return NDCG at each k and its floor (all codes equal), which is high where most rows share a label."""
    if space.storage == "codes":
        ndcg = hamming_ndcg(queries.points, items.points, queries.labels, items.labels, ks=NDCG_AT).value
    else:
        values_at: dict[int, list[np.ndarray]] = {k: [] for k in NDCG_AT}
        for similarity, shared in _blocks(space, queries, items):
            block = ranking_ndcg(similarity, shared.astype(np.int64), ks=NDCG_AT, empty="zero")
            for k, values in block.per_query.items():
                values_at[k].append(np.where(shared.any(axis=1), values, np.nan))
        ndcg = {k: settle_empty(np.concatenate(values), "skip")[0] for k, values in values_at.items()}
    left, right = (np.zeros((len(part.points), 1), np.uint8) for part in (queries, items))
    floor = hamming_ndcg(left, right, queries.labels, items.labels, ks=NDCG_AT[:1]).value[NDCG_AT[0]]
    return {f"ndcg@{k}": value for k, value in ndcg.items()} | {f"ndcg_floor@{NDCG_AT[0]}": floor}


def _health(points: np.ndarray) -> dict[str, float | list[float]]:
    health = code_health(points)
    return {
        "ones": np.round(health.balance, 5).tolist(),
        "entropy": float(health.entropy.mean()),
        "correlation": health.mean_correlation,
        "max_correlation": health.max_correlation,
        "constant_bits": float(health.constant_bits),
        "unique": health.unique_share,
        "collisions": health.collision_share,
    }
