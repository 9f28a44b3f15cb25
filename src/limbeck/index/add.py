"""Adds items to an index: one new segment per commit, and tombstones for the items that it replaces."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.id_table import check_unique
from limbeck.index.items import Items, as_items, as_new_items
from limbeck.index.lock import WAIT_SECONDS
from limbeck.index.media import join_root, with_prefix
from limbeck.index.segment_writer import Batches
from limbeck.index.store import EMBEDDING, IndexStore
from limbeck.index.transaction import changing
from limbeck.index.writer import StoreMeta

_NAMED = 5


@dataclass(frozen=True)
class Added:
    """Counts the items that a commit added.

    Attributes:
        items: the number of items added.
        replaced: the number of older items that they replaced.
    """

    items: int
    replaced: int


def add_batches(
    path: Path | str,
    batches: Batches,
    meta: StoreMeta,
    *,
    ids: Sequence[str] | None = None,
    replace: bool = False,
    gone: Sequence[str] = (),
    hint: str | None = None,
    lock_timeout: float = WAIT_SECONDS,
) -> Added:
    """Add (points, items) batches to an index in one commit; an error leaves the index unchanged.

    The items may bring new columns, which are null for older items. Columns that the new items lack are null
    for them.

    Args:
        path: the index directory.
        batches: (n, width) points of the index's space and tables of n items.
        meta: describes the items; space, `space_id` and modality must equal those of the index. Encoders are
            ignored.
        ids: all ids that the batches may hold, if they are known. They are checked before the first batch is
            read.
        replace: replace the items of the index that have the same ids.
        gone: ids of items to remove in the same commit; ids that are not in the index are ignored.
        hint: what the error about known ids proposes besides ``replace``.
        lock_timeout: seconds to wait for another writer.

    Returns:
        The numbers of added and replaced items.

    Raises:
        LimbeckError: the space differs, ids are known (without ``replace``) or repeated, a column changes its
            type, pictures are outside the media root, points are not of the space, there is nothing to add,
            the disk is full, or another writer holds the lock.
    """
    with changing(path, lock_timeout) as change:
        store, replaced = change.store, [np.empty(0, np.int64)]
        _check_meta(store, meta)
        root, prefix = join_root(store, meta.media_root)
        if ids is not None:
            _check_repeated(store, ids)
            _known_rows(store, ids, replace, hint)

        def incoming() -> Batches:
            for points, items in batches:
                table = as_new_items(_without_unwanted(store, meta, items), store.schema, str(store.path))
                replaced.append(_known_rows(store, table.column("id").to_pylist(), replace))
                yield points, with_prefix(table, prefix)

        segment = change.append(incoming())
        check_unique([segment])
        old = np.concatenate(replaced)
        leaving = store.rows_of(list(dict.fromkeys(gone)))
        change.remove(np.union1d(old, leaving[leaving >= 0]))
        change.tidy()
        change.publish(dataclasses.replace(change.store.manifest, media_root=root))
        return Added(segment.rows, len(old))


def _without_unwanted(store: IndexStore, meta: StoreMeta, items: Items) -> Items:
    """Return the items, without their embeddings if the index keeps none."""
    if meta.embeddings is None or store.kept is not None:
        return items
    return as_items(items).drop_columns([EMBEDDING])


def _check_meta(store: IndexStore, meta: StoreMeta) -> None:
    manifest = store.manifest
    if meta.space != store.space:
        raise LimbeckError(
            f"{store.path}: holds points of {store.space}, not of {meta.space}; encode again",
            code="E-INDEX-OTHER-MODEL",
        )
    if meta.space_id != manifest.space_id:
        known = "of no known model" if manifest.space_id is None else f"of space {manifest.space_id[:8]}"
        given = "of no known model" if meta.space_id is None else f"of space {meta.space_id[:8]}"
        raise LimbeckError(
            f"{store.path}: its points are {known}, the new ones {given}; "
            "encode them with the index's own model",
            code="E-INDEX-OTHER-MODEL",
        )
    if meta.embeddings is not None and (kept := store.kept) is not None and meta.embeddings != kept:
        raise LimbeckError(
            f"{store.path}: ranks by the {kept.describe()}; the new items bring the "
            f"{meta.embeddings.describe()}; encode them with limbeck index add INDEX SOURCE",
            code="E-INDEX-OTHER-MODEL",
        )
    if meta.modality != manifest.modality:
        raise LimbeckError(
            f"{store.path}: holds {manifest.modality}s, not {meta.modality}s; build another index for them",
            code="E-INDEX-OTHER-MODEL",
        )


def _check_repeated(store: IndexStore, ids: Sequence[str]) -> None:
    if len(set(ids)) == len(ids):
        return
    twice = [name for name, count in Counter(ids).items() if count > 1]
    raise LimbeckError(
        f"{store.path}: {_some(twice, 'id')} given more than once; ids must be unique", code="E-ID-REPEATED"
    )


def _known_rows(store: IndexStore, ids: Sequence[str], replace: bool, hint: str | None = None) -> np.ndarray:
    """Return the rows (m,) of the ids that are in the index.

    Raises:
        LimbeckError: there is such a row and ``replace`` is False.
    """
    rows = store.rows_of(ids)
    if not replace and (rows >= 0).any():
        known = [name for name, row in zip(ids, rows, strict=True) if row >= 0]
        advice = "--replace takes the new items" if hint is None else f"{hint}, --replace encodes all again"
        raise LimbeckError(f"{store.path}: {_some(known, 'id')} in it already; {advice}", code="E-ID-EXISTS")
    return rows[rows >= 0]


def _some(names: Sequence[str], what: str) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    if len(names) == 1:
        return f"{what} {shown} is"
    return f"{len(names)} {what}s ({shown}{', …' if len(names) > _NAMED else ''}) are"
