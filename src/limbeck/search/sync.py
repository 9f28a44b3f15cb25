"""An index brought up to date with a folder that went on: only what is new or changed is encoded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from limbeck.encoding import OnSkip, PictureFolder
from limbeck.errors import LimbeckError
from limbeck.index.add import add_batches
from limbeck.index.embeddings import kept_of
from limbeck.index.file_state import COLUMN, FileState, column_of, state_after
from limbeck.index.media import join_root
from limbeck.index.remove import remove_items
from limbeck.index.segment_writer import Batches
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.search.rows import open_below, open_rows, own_encoder

_ROWS = 1024  # items taken over together


@dataclass(frozen=True)
class Synced:
    """What a sync found.

    Attributes:
        new: pictures that the index did not have, encoded now.
        changed: pictures whose content changed, encoded again.
        unchanged: pictures that stay as they are; a new time of the same content is noted.
        gone: ids of items whose file is not there any more.
        removed: whether these were removed.
        skipped: pictures that could not be read; an older state of them stays.
        unrecorded: of the changed ones those of which the index did not know what their file had been.
    """

    new: int
    changed: int
    unchanged: int
    gone: list[str]
    removed: bool
    skipped: int
    unrecorded: int


@dataclass(frozen=True)
class _Plan:
    """Row numbers of the folder that are new and changed, items to be noted anew, and ids that are gone."""

    new: list[int]
    changed: list[int]
    unrecorded: int
    touched: dict[int, FileState]  # by row of the store
    unchanged: int
    gone: list[str]


def sync_folder(
    path: Path | str,
    folder: Path | str,
    *,
    remove: bool = False,
    batch_size: int | None = None,
    progress: bool = False,
    on_skip: OnSkip | None = None,
) -> Synced:
    """Encode what is new or changed in a folder of pictures, in one commit; until then the old state stands.

    A file is unchanged if size and time of its last change are those noted in the index, or else its SHA-256.
    An item without such a note, as version 0.1 wrote them, is encoded again.

    Args:
        path: an index of a folder: its own, one above it, or one below.
        folder: the folder; what lies outside it is left alone.
        remove: take items out whose file is not there any more; they are counted only by default.
        batch_size: items in one forward pass; 64 pictures by default.
        progress: show items/s and the time left on standard error.
        on_skip: called with id and reason of each picture that cannot be read.

    Raises:
        LimbeckError: no index, no folder or no picture in it, a folder outside the media root, items that
            were named by a table, no model in the index, another writer, a full disk.
    """
    store = IndexStore.open(path)
    opened = open_below(folder, store.manifest.media_root)
    if not isinstance(opened, PictureFolder):
        raise LimbeckError(f"{folder}: index sync takes a folder of pictures; use limbeck index add for this")
    join_root(store, opened.media_root)
    failed: set[str] = set()

    def skip(item_id: str, reason: str) -> None:
        failed.add(item_id)
        if on_skip is not None:
            on_skip(item_id, reason)

    plan = _plan(store, opened, skip)
    ids = opened.ids()
    batches, meta = _encoded(store, opened, sorted(plan.new + plan.changed), batch_size, progress, skip)
    coming = itertools.chain(_noted(store, plan.touched), batches)
    first = next(coming, None)
    gone = plan.gone if remove else []
    if first is not None:
        add_batches(path, itertools.chain([first], coming), meta, replace=True, gone=gone)
    elif gone:
        remove_items(path, gone)
    return Synced(
        sum(ids[row] not in failed for row in plan.new),
        sum(ids[row] not in failed for row in plan.changed),
        plan.unchanged,
        plan.gone,
        remove,
        len(failed),
        plan.unrecorded,
    )


def _plan(store: IndexStore, opened: PictureFolder, skip: Callable[[str, str], None]) -> _Plan:
    """Compare a folder with what the index noted of it."""
    ids = opened.ids()
    known = _known(store, set(ids), opened.prefix)
    new, changed, touched, unchanged, unrecorded = [], [], {}, 0, 0
    for number, item_id in enumerate(ids):
        if item_id not in known:
            new.append(number)
            continue
        row, noted = known.pop(item_id)
        now = _state_now(opened.root / opened.names[number], noted)
        if noted is None or now is None or now.sha256 != noted.sha256:
            changed.append(number)
            unrecorded += noted is None
            continue
        unchanged += 1
        if now != noted:
            touched[row] = now
    gone = []
    for item_id in known:
        if (opened.root / item_id.removeprefix(opened.prefix)).exists():
            skip(item_id, "is no picture any more; what the index has of it stays")
        else:
            gone.append(item_id)
    return _Plan(new, changed, unrecorded, touched, unchanged, gone)


def _state_now(file: Path, noted: FileState | None) -> FileState | None:
    """The state of a file; not read where size and time are as noted, None where it cannot be told."""
    try:
        about = file.stat()
    except OSError:
        return None
    if noted is None or (about.st_size, about.st_mtime_ns) == (noted.size, noted.mtime_ns):
        return noted
    return None if about.st_size != noted.size else state_after(file, about)


def _known(store: IndexStore, ids: set[str], prefix: str) -> dict[str, tuple[int, FileState | None]]:
    """By id the row and the noted state of the items of a folder: those whose id is their path below it.

    Raises:
        LimbeckError: a picture of the folder is in the index under another id.
    """
    found: dict[str, tuple[int, FileState | None]] = {}
    for start, segment in zip(store.starts, store.segments, strict=False):
        names = [name for name in ("id", "path", COLUMN) if name in segment.items.column_names]
        columns = {name: segment.column(name).to_pylist() for name in names}
        paths = columns.get("path", [None] * segment.rows)
        states = columns.get(COLUMN, [None] * segment.rows)
        alive = segment.alive()
        for local in np.flatnonzero(alive).tolist():
            item_id, at = columns["id"][local], paths[local]
            if at is None or not at.startswith(prefix):
                continue
            if item_id == at:
                found[item_id] = (start + local, FileState.from_json(states[local]))
            elif at in ids:
                raise LimbeckError(
                    f"{store.path}: the picture {at!r} has the id {item_id!r} in it, as in a table; "
                    "index sync takes indexes of folders, so use limbeck index add with the table"
                )
    return found


def _encoded(
    store: IndexStore,
    opened: PictureFolder,
    rows: Sequence[int],
    batch_size: int | None,
    progress: bool,
    skip: OnSkip,
) -> tuple[Batches, StoreMeta]:
    """Batches of the rows to be encoded, and what they are; no model is loaded where there are none."""
    kept = kept_of(store)
    if not rows:
        recorded = None if kept is None or kept.of == "unrecorded" else kept
        manifest = store.manifest
        return [], StoreMeta(
            store.space, manifest.space_id, manifest.modality, opened.media_root, embeddings=recorded
        )
    return open_rows(
        opened,
        own_encoder(store),
        None,
        rows=np.array(rows),
        batch_size=batch_size,
        progress=progress,
        on_skip=skip,
        embeddings=kept or False,
        may_be_none=True,
    )


def _noted(store: IndexStore, touched: dict[int, FileState]) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Points and items as they are, with another state of their file."""
    rows = list(touched)
    for start in range(0, len(rows), _ROWS):
        some = np.array(rows[start : start + _ROWS])
        table = store.items_at(some)
        states = column_of([touched[int(row)] for row in some])
        yield store.points_at(some), table.set_column(table.column_names.index(COLUMN), COLUMN, states)
