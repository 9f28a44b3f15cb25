"""Score mAP per label: the mean over queries hides how rare and unseen labels do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from limbeck.data.protocol import Direction
from limbeck.errors import LimbeckError
from limbeck.evaluation.hashing import SIDES, Labelled, Scores, SetName, mean_precision
from limbeck.metrics import MapRules
from limbeck.spaces import Space
from limbeck.typed import Json

RARE = 1 / 3


def score_labels(
    space: Space,
    sets: Mapping[SetName, Labelled],
    names: Sequence[str],
    train_labels: np.ndarray,
    rules: MapRules,
    *,
    unseen: Iterable[str] = (),
    directions: Sequence[Direction] = ("i2t", "t2i"),
) -> tuple[Scores, dict[str, Json]]:
    """Compute the mAP of each label (ours): its queries have the label, and its items are relevant.

    A query with the labels sky and river counts for both labels. An item that has only sky is not relevant
    when the query is scored for river.

    Args:
        space: as for `score_hashing`.
        sets: as for `score_hashing`.
        names: the C label names.
        train_labels: bool (n, C), labels of the training rows. Their counts decide which labels are rare.
        rules: as for `score_hashing`.
        unseen: labels that were withheld in training.
        directions: as for `score_hashing`.

    Returns:
        The scores, in group ``label`` per direction. ``i2t/all`` is the mean over labels. ``i2t/rare`` is the
        mean over the third of the labels with the fewest training rows. ``i2t/unseen`` and ``i2t/seen`` are
        given where some labels are unseen. The second value lists the rare and unseen labels, and per label
        ``train`` (rows) and per direction ``queries``, ``items`` and ``map``; ``map`` is None for a label
        without a query or without an item.

    Raises:
        LimbeckError: ``unseen`` names an unknown label; no label has both a query and an item.
    """
    unseen = set(unseen)
    if missing := sorted(unseen - set(names)):
        raise LimbeckError(
            f"unseen: there is no label {missing[0]!r}; choose from {', '.join(names)}",
            code="E-LABEL-UNKNOWN",
        )
    counts = train_labels.sum(axis=0)
    by_number = sorted(range(len(names)), key=lambda c: (counts[c], names[c]))
    rare = {names[c] for c in by_number[: max(1, round(RARE * len(names)))]}
    each: dict[str, dict[str, Json]] = {name: {"train": int(counts[c])} for c, name in enumerate(names)}
    scores = Scores(metrics={"label": {}})
    for direction in directions:
        queries, items = (sets[name] for name in SIDES[direction])
        values: dict[str, float] = {}
        for column, name in enumerate(names):
            is_query, is_relevant = queries.labels[:, column], items.labels[:, column]
            value = None
            query_count, item_count = int(is_query.sum()), int(is_relevant.sum())
            if query_count and item_count:
                label_queries = Labelled(queries.points[is_query], np.ones((query_count, 1), dtype=bool))
                label_items = Labelled(items.points, is_relevant[:, None])
                value, _ = mean_precision(space, label_queries, label_items, rules)
                values[name] = value
            each[name][direction] = {"queries": query_count, "items": item_count, "map": value}
        if not values:
            raise LimbeckError(
                "by label: no label has both a query and an item; choose another protocol",
                code="E-METRIC-UNDEFINED",
            )
        kinds = {"all": set(values), "rare": rare, "unseen": unseen, "seen": set(values) - unseen}
        for kind, members in kinds.items():
            kind_values = [values[name] for name in values if name in members]
            if kind_values and (unseen or kind in ("all", "rare")):
                scores.metrics["label"][f"{direction}/{kind}"] = float(np.mean(kind_values))
    about: dict[str, Json] = {"rare": sorted(rare), "unseen": sorted(unseen), "each": each}
    return scores, about
