"""Items join an index: one new segment, and with ``replace`` tombstones for those they take the place of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.embeddings import COLUMN, kept_of
from limbeck.index.id_table import check_unique
from limbeck.index.items import Items, as_items, as_new_items
from limbeck.index.lock import WAIT_SECONDS
from limbeck.index.media import join_root, with_prefix
from limbeck.index.segment_writer import Batches
from limbeck.index.store import IndexStore
from limbeck.index.transaction import changing
from limbeck.index.writer import StoreMeta

_NAMED = 5


@dataclass(frozen=True)
class Added:
    """How many items a commit brought, and how many of them took the place of older ones."""

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
    """Add (points, items) batches to an index in one commit; on any error the old state stands.

    The items may bring new columns, null in older ones, and may lack columns, which are null in them then.

    Args:
        path: an index.
        batches: (n, width) points of the index's space and tables of n items.
        meta: what they are; space, `space_id` and modality must be the index's, encoders are not taken.
        ids: all ids that the batches may hold, where they are known: refused before a batch is asked for.
        replace: items whose ids are in the index take the place of the old ones.
        gone: ids of items that leave the index in the same commit, as far as they are in it.
        hint: what to do beside ``replace`` about known ids; a part of the error.
        lock_timeout: seconds to wait for another writer.

    Raises:
        LimbeckError: another space, known ids without ``replace``, repeated ids, a column of another type,
            pictures outside the media root, points not of the space, nothing to add, a full disk, a held
            lock.
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
        change.publish(media_root=root)
        return Added(segment.rows, len(old))


def _without_unwanted(store: IndexStore, meta: StoreMeta, items: Items) -> Items:
    """The items without embeddings that an index which keeps none could not say anything of."""
    if meta.embeddings is None or kept_of(store) is not None:
        return items
    return as_items(items).drop_columns([COLUMN])


def _check_meta(store: IndexStore, meta: StoreMeta) -> None:
    manifest = store.manifest
    if meta.space != store.space:
        raise LimbeckError(f"{store.path}: holds points of {store.space}, not of {meta.space}; encode again")
    if meta.space_id != manifest.space_id:
        known = "of no known model" if manifest.space_id is None else f"of space {manifest.space_id[:8]}"
        given = "of no known model" if meta.space_id is None else f"of space {meta.space_id[:8]}"
        raise LimbeckError(
            f"{store.path}: its points are {known}, the new ones {given}; "
            "encode them with the index's own model"
        )
    if meta.embeddings is not None and (kept := kept_of(store)) is not None and meta.embeddings != kept:
        raise LimbeckError(
            f"{store.path}: ranks by the {kept.describe()}; the new items bring the "
            f"{meta.embeddings.describe()}; encode them with limbeck index add INDEX SOURCE"
        )
    if meta.modality != manifest.modality:
        raise LimbeckError(f"{store.path}: holds {manifest.modality}s, not {meta.modality}s")


def _check_repeated(store: IndexStore, ids: Sequence[str]) -> None:
    if len(set(ids)) == len(ids):
        return
    twice = [name for name, count in Counter(ids).items() if count > 1]
    raise LimbeckError(f"{store.path}: {_some(twice, 'id')} given more than once; ids must be unique")


def _known_rows(store: IndexStore, ids: Sequence[str], replace: bool, hint: str | None = None) -> np.ndarray:
    """Rows (m,) of the ids that are in the index; refused unless they shall be replaced."""
    rows = store.rows_of(ids)
    if not replace and (rows >= 0).any():
        known = [name for name, row in zip(ids, rows, strict=True) if row >= 0]
        mend = "--replace takes the new items" if hint is None else f"{hint}, --replace encodes all again"
        raise LimbeckError(f"{store.path}: {_some(known, 'id')} in it already; {mend}")
    return rows[rows >= 0]


def _some(names: Sequence[str], what: str) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    if len(names) == 1:
        return f"{what} {shown} is"
    return f"{len(names)} {what}s ({shown}{', …' if len(names) > _NAMED else ''}) are"
