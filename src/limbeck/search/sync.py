"""Synchronises an index with a folder of pictures: only new and changed pictures are encoded."""

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
from limbeck.index.file_state import COLUMN, FileState, column_of, state_after
from limbeck.index.media import join_root
from limbeck.index.remove import remove_items
from limbeck.index.segment_writer import Batches
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.search.calibrate import calibrate_grown
from limbeck.search.encoders import own_encoder
from limbeck.search.rows import open_below, open_rows

_ROWS = 1024  # items per batch whose file state is updated


@dataclass(frozen=True)
class Synced:
    """Counts the results of a synchronisation.

    Attributes:
        new: the number of new pictures, which were encoded.
        changed: the number of pictures with changed content, which were encoded again.
        unchanged: the number of unchanged pictures; a changed modification time is recorded.
        gone: the ids of items whose file no longer exists.
        removed: whether these items were removed.
        skipped: the number of pictures that could not be read; the index keeps their older items.
        unrecorded: the number of changed pictures for which the index had no file state.
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
    """Holds the folder's new and changed rows, the file states to update, and the ids of missing files."""

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
    """Encode the new and changed pictures of a folder in one commit; an error leaves the index unchanged.

    A file is unchanged if its size and modification time equal those in the index, or else its SHA-256 does.
    An item without a recorded state, as in version 0.1, is encoded again.

    Args:
        path: the index directory; its media root is the folder, or a folder above it.
        folder: the folder; items outside it do not change.
        remove: remove items whose file no longer exists; by default they are only counted.
        batch_size: pictures per forward pass; 64 by default.
        progress: show items per second and the remaining time on standard error.
        on_skip: called with id and reason of each picture that cannot be read.

    Returns:
        The counts of new, changed and unchanged pictures, and the missing ones.

    Raises:
        LimbeckError: there is no index, no folder or no picture in it, the folder is outside the media root,
            ids come from a table, the index has no model, another writer holds the lock, or the disk is full.
    """
    store = IndexStore.open(path)
    opened = open_below(folder, store.manifest.media_root)
    if not isinstance(opened, PictureFolder):
        raise LimbeckError(
            f"{folder}: is not a folder of pictures, which index sync needs; use limbeck index add",
            code="E-PATH-KIND",
        )
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
        calibrate_grown(path)
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
    """Compare a folder with the file states in the index."""
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
            skip(item_id, "is no longer a picture; the index keeps its item")
        else:
            gone.append(item_id)
    return _Plan(new, changed, unrecorded, touched, unchanged, gone)


def _state_now(file: Path, noted: FileState | None) -> FileState | None:
    """Return the state of a file, read only if its time differs; None if unreadable or of another size."""
    try:
        about = file.stat()
    except OSError:
        return None
    if noted is None or (about.st_size, about.st_mtime_ns) == (noted.size, noted.mtime_ns):
        return noted
    return None if about.st_size != noted.size else state_after(file, about)


def _known(store: IndexStore, ids: set[str], prefix: str) -> dict[str, tuple[int, FileState | None]]:
    """Return row and recorded state, by id, of the items of a folder, whose id is their path.

    Raises:
        LimbeckError: a picture of the folder is in the index with another id.
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
                    f"{store.path}: the picture {at!r} has the id {item_id!r}, which a table gave it; "
                    "index sync needs an index of a folder; use limbeck index add with the table",
                    code="E-ID-EXISTS",
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
    """Return the batches of the rows to encode and their description; without rows, no model is loaded."""
    kept = store.kept
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
    """Yield stored points and items with a new file state."""
    rows = list(touched)
    for start in range(0, len(rows), _ROWS):
        some = np.array(rows[start : start + _ROWS])
        table = store.items_at(some)
        states = column_of([touched[int(row)] for row in some])
        yield store.points_at(some), table.set_column(table.column_names.index(COLUMN), COLUMN, states)
