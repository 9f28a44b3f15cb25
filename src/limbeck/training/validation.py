"""Compute the validation score that selects the best step.

Validation pairs are split from train, never from the test queries, unless a recipe sets ``data.like``.
"""

from __future__ import annotations

import numpy as np

from limbeck.data.batches import InputReader
from limbeck.data.protocol import Metric, Protocol
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.encode import blocks_of
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
) -> dict[str, float]:
    """Return ``score`` and its parts by name; the score is their mean.

    Hashing: mAP@all in both directions, with at most 1,000 held-out pairs as queries and at most 10,000
    training pairs as database. With ``whole`` (``data.like``) all pairs count, and the metric is the
    protocol's.
    Retrieval: R@k in both directions among at most 1,000 held-out pairs.

    Args:
        encoder: the model to score.
        protocol: gives the task and the metric.
        train: readers of the database, by modality.
        held_out: readers of the queries, by modality.
        whole: whether to score all pairs with the protocol's metric.
    """
    view, train_view = held_out["image"].view, train["image"].view
    queries = np.arange(len(view) if whole else min(len(view), MAX_QUERIES))
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
    database = np.arange(len(train_view) if whole else min(len(train_view), MAX_DATABASE))
    rules = (protocol.metric if whole else Metric()).map_rules
    items = {m: points(encoder, m, train[m], len(database)) for m in ("image", "text")}
    assert view.labels is not None and train_view.labels is not None
    query_labels = view.labels[queries].numpy() > 0
    item_labels = train_view.labels[database].numpy() > 0

    def score(a: np.ndarray, b: np.ndarray) -> float:
        if encoder.space.storage == "codes":
            return hamming_map(a, b, query_labels, item_labels, **rules).value
        return ranking_map(encoder.space.similarity(a, b), query_labels @ item_labels.T, **rules).value

    both = {"i2t/mAP": score(query["image"], items["text"]), "t2i/mAP": score(query["text"], items["image"])}
    return {"score": (both["i2t/mAP"] + both["t2i/mAP"]) / 2, **both}
