"""Compute the validation score that selects the best step.

Validation pairs are split from train, never from the test queries, unless a recipe sets ``data.like``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from limbeck.data.batches import InputReader
from limbeck.data.protocol import Metric, Protocol
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.encode import blocks_of
from limbeck.errors import LimbeckError
from limbeck.metrics import hamming_map, ranking_map, recall_at_k

MAX_DATABASE = 10_000
MAX_QUERIES = 1_000


def points(encoder: DualEncoder, modality: str, source: InputReader, count: int) -> np.ndarray:
    """Encode the first ``count`` rows into stored form, codes or vectors (count, width)."""
    batches = source.batches(blocks_of(count, 256))
    return np.concatenate([rows for _, (rows,) in encoder.run(modality, batches, "points")])


def validation_score(
    encoder: DualEncoder,
    protocol: Protocol,
    train: dict[str, InputReader],
    held_out: dict[str, InputReader],
    *,
    whole: bool = False,
    trained_per_unseen: float = 0.0,
) -> dict[str, float]:
    """Return ``score`` and its parts by name; the score is the mean of both directions.

    Hashing: mAP@all by the protocol's ``validation.measure``. ``trained``: at most 1,000 held-out pairs are
    the queries, and at most 10,000 training pairs are the database. ``whole`` and ``unseen``: every held-out
    pair is a query once, in one of the `open_draws`; both mAPs are returned, and ``sd``, the standard
    deviation of the score between the draws. With ``whole`` (``data.like``) all pairs count, and the metric
    is the protocol's. Retrieval: R@k in both directions among at most 1,000 held-out pairs.

    Args:
        encoder: the model to score.
        protocol: gives the task and the metric.
        train: readers of the database, by modality.
        held_out: readers of the queries, by modality.
        whole: whether to score all pairs with the protocol's metric.
        trained_per_unseen: trained rows per unseen row of the protocol's database.

    Raises:
        LimbeckError: fewer held-out pairs than draws.
    """
    view, train_view = held_out["image"].view, train["image"].view
    measure = "trained" if whole else protocol.validation.measure
    cut = not whole and measure == "trained"
    queries = np.arange(min(len(view), MAX_QUERIES) if cut else len(view))
    query = {m: points(encoder, m, held_out[m], len(queries)) for m in ("image", "text")}
    if protocol.task == "retrieval":
        similarity = encoder.space.similarity(query["image"], query["text"])
        paired = np.eye(len(queries), dtype=bool)
        ks = protocol.metric.ks or [1, 5, 10]
        i2t = recall_at_k(similarity, paired, ks).value
        t2i = recall_at_k(similarity.T, paired, ks).value
        found = {f"i2t/R@{k}": float(v) for k, v in i2t.items()} | {
            f"t2i/R@{k}": float(v) for k, v in t2i.items()
        }
        return {"score": float(np.mean(list(found.values()))), **found}
    rules = (protocol.metric if whole else Metric()).map_rules
    assert view.labels is not None and train_view.labels is not None
    query_labels = view.labels[queries].numpy() > 0

    def both(asking: np.ndarray, items: dict[str, np.ndarray], item_labels: np.ndarray) -> dict[str, float]:
        """Return the mAP of some held-out pairs by direction."""
        labels, values = query_labels[asking], {}
        for way, a, b in (("i2t", "image", "text"), ("t2i", "text", "image")):
            if encoder.space.storage == "codes":
                found = hamming_map(query[a][asking], items[b], labels, item_labels, **rules)
            else:
                similarity = encoder.space.similarity(query[a][asking], items[b])
                found = ranking_map(similarity, labels @ item_labels.T, **rules)
            values[way] = found.value
        return values

    if measure == "trained":
        size = min(len(train_view), MAX_DATABASE) if cut else len(train_view)
        items = {m: points(encoder, m, train[m], size) for m in ("image", "text")}
        found = both(queries, items, train_view.labels[:size].numpy() > 0)
        return {"score": (found["i2t"] + found["t2i"]) / 2} | {f"{w}/mAP": v for w, v in found.items()}

    draws = list(open_draws(len(view), len(train_view), trained_per_unseen, protocol))
    rows = draws[0].trained  # the same in every draw, so that they are encoded once
    seen = {m: points(encoder, m, train[m], int(rows.max(initial=-1)) + 1)[rows] for m in ("image", "text")}
    seen_labels = train_view.labels[rows].numpy() > 0
    parts: dict[str, list[float]] = {}
    scores, weights = [], [len(draw.asking) for draw in draws]
    for draw in draws:
        unseen = {m: query[m][draw.unseen] for m in query}
        labels = query_labels[draw.unseen]
        every = {m: np.concatenate([unseen[m], seen[m]]) for m in query}
        by_measure = {
            "whole": both(draw.asking, every, np.concatenate([labels, seen_labels])),
            "unseen": both(draw.asking, unseen, labels),
        }
        scores.append(np.mean(list(by_measure[measure].values())))
        for name, found in by_measure.items():
            for way, value in found.items():
                parts.setdefault(f"{way}/mAP" + ("_unseen" if name == "unseen" else ""), []).append(value)
    mean = {name: float(np.average(values, weights=weights)) for name, values in parts.items()}
    return {"score": float(np.average(scores, weights=weights)), "sd": float(np.std(scores, ddof=1)), **mean}


@dataclass(frozen=True)
class OpenDraw:
    """One draw of a database that holds unseen rows.

    Attributes:
        asking: positions of held-out pairs that are the queries.
        unseen: positions of the other held-out pairs, which lie in the database.
        trained: positions of trained pairs, which lie in the database, ascending.
    """

    asking: np.ndarray
    unseen: np.ndarray
    trained: np.ndarray


def open_draws(
    held_out: int, train: int, trained_per_unseen: float, protocol: Protocol
) -> Iterator[OpenDraw]:
    """Yield the draws of a protocol's validation: every held-out pair is a query in one of them.

    The trained rows are the same in all draws, in the proportion ``trained_per_unseen`` to the unseen ones.

    Raises:
        LimbeckError: fewer held-out pairs than draws.
    """
    rule = protocol.validation
    if held_out < rule.draws:
        raise LimbeckError(
            f"protocol {protocol.name}: validation.draws: {rule.draws} draws need as many held-out pairs, "
            f"but there are {held_out}; hold out more pairs, or set validation.measure: trained",
            code="E-PROTOCOL-SPLIT",
        )
    rng = np.random.default_rng(rule.seed)
    parts = np.array_split(rng.permutation(held_out), rule.draws)
    unseen = held_out - len(parts[0])
    trained = np.sort(rng.permutation(train)[: round(unseen * trained_per_unseen)])
    for number, asking in enumerate(parts):
        others = np.concatenate([part for at, part in enumerate(parts) if at != number])
        yield OpenDraw(np.sort(asking), np.sort(others), trained)
