"""Mean average precision label by label: what the mean over queries hides of rare and of unseen labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluation.hashing import SIDES, Labelled, Scores, Settings, mean_precision
from limbeck.spaces import Space

RARE = 1 / 3


def score_labels(
    space: Space,
    sets: Mapping[str, Labelled],
    names: Sequence[str],
    train_labels: np.ndarray,
    settings: Settings,
    *,
    unseen: Iterable[str] = (),
    directions: Sequence[str] = ("i2t", "t2i"),
) -> tuple[Scores, dict[str, Any]]:
    """mAP of each label by itself: its queries, and of the items those that have it are relevant (ours).

    A query with the labels sky and river counts for both; what it finds for sky alone is nothing for river.

    Args:
        space, sets, settings, directions: as of `score_hashing`.
        names: the C label names.
        train_labels: bool (n, C) of the training rows, which say what is rare.
        unseen: labels that training did not know.

    Returns:
        Group ``label``, per direction: ``i2t/all``, the mean over labels; ``i2t/rare``, over the third of
        them that the fewest training rows have; ``i2t/unseen`` and ``i2t/seen`` where some are unseen. Then
        what each label has: ``train``, and per direction ``queries``, ``items`` and ``map``, None without
        one of either.

    Raises:
        LimbeckError: an unknown label among the unseen; no label with a query and an item.
    """
    unseen = set(unseen)
    if missing := sorted(unseen - set(names)):
        raise LimbeckError(f"unseen: no label {missing[0]!r}; there are {', '.join(names)}")
    counts = train_labels.sum(axis=0)
    by_number = sorted(range(len(names)), key=lambda c: (counts[c], names[c]))
    rare = {names[c] for c in by_number[: max(1, round(RARE * len(names)))]}
    each: dict[str, dict[str, Any]] = {name: {"train": int(counts[c])} for c, name in enumerate(names)}
    scores = Scores(metrics={"label": {}})
    for direction in directions:
        queries, items = (sets[name] for name in SIDES[direction])
        values: dict[str, float] = {}
        for column, name in enumerate(names):
            asks, has = queries.labels[:, column], items.labels[:, column]
            value = None
            if asks.any() and has.any():
                own = Labelled(queries.points[asks], np.ones((int(asks.sum()), 1), dtype=bool))
                value, _ = mean_precision(space, own, Labelled(items.points, has[:, None]), settings)
                values[name] = value
            each[name][direction] = {"queries": int(asks.sum()), "items": int(has.sum()), "map": value}
        if not values:
            raise LimbeckError("by label: no label has both a query and an item; choose another protocol")
        kinds = {"all": set(values), "rare": rare, "unseen": unseen, "seen": set(values) - unseen}
        for kind, members in kinds.items():
            found = [values[name] for name in values if name in members]
            if found and (unseen or kind in ("all", "rare")):
                scores.metrics["label"][f"{direction}/{kind}"] = float(np.mean(found))
    about = {"rare": sorted(rare), "unseen": sorted(unseen), "each": each}
    return scores, about
