"""Removes items from an index: their rows get tombstones, so that no search returns them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.lock import WAIT_SECONDS
from limbeck.index.store import IndexStore
from limbeck.index.transaction import changing

_NAMED = 20


def remove_items(
    path: Path | str,
    ids: Sequence[str] | None = None,
    *,
    where: str | None = None,
    lock_timeout: float = WAIT_SECONDS,
) -> int:
    """Remove items by id or by a filter, in one commit.

    Rows stay in their segment until it is rewritten: at once if more than a fifth of it is removed, otherwise
    by `compact_index`.

    Args:
        path: the index directory.
        ids: the ids of the items; a repeated id counts once.
        where: a filter on the columns (docs/search.md), instead of ids.
        lock_timeout: seconds to wait for another writer.

    Returns:
        The number of removed items; if it is 0, nothing is written.

    Raises:
        LimbeckError: an id is unknown (nothing is removed then), the filter is invalid, not exactly one of
            ids and filter is given, there is no index, another writer holds the lock, or the disk is full.
    """
    if (ids is None) == (where is None):
        raise LimbeckError("remove: give either ids or a filter (where)", code="E-OPTION-CONFLICT")
    if isinstance(ids, str):
        raise LimbeckError(f"remove: {ids!r} is one string; give a list of ids", code="E-INPUT-TYPE")
    with changing(path, lock_timeout) as change:
        rows = _matching(change.store, where) if where is not None else _known(change.store, ids or ())
        if len(rows):
            change.remove(rows)
            change.tidy()
            change.publish()
        return len(rows)


def _matching(store: IndexStore, where: str) -> np.ndarray:
    mask = store.where(where)
    return np.flatnonzero(mask if store.alive is None else mask & store.alive)


def _known(store: IndexStore, ids: Sequence[str]) -> np.ndarray:
    names = list(dict.fromkeys(ids))
    rows = store.rows_of(names)
    unknown = [repr(name) for name, row in zip(names, rows, strict=True) if row < 0]
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise LimbeckError(
            f"{store.path}: holds no item with id {', '.join(unknown[:_NAMED])}{more}; nothing was removed",
            code="E-ID-UNKNOWN",
        )
    return rows
