"""Merges all segments of an index into one, without the removed rows."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from limbeck.index.lock import WAIT_SECONDS
from limbeck.index.media import above, with_prefix
from limbeck.index.transaction import changing


def compact_index(
    path: Path | str, *, media_root: Path | str | None = None, lock_timeout: float = WAIT_SECONDS
) -> bool:
    """Merge the segments of an index in one commit and in bounded memory; the row order stays.

    Args:
        path: the index directory.
        media_root: a folder that contains the recorded media root; paths become relative to it.
        lock_timeout: seconds to wait for another writer.

    Returns:
        True if the index was rewritten; False if there was nothing to do.

    Raises:
        LimbeckError: there is no index, the root does not contain the recorded one, another writer holds the
            lock, or the disk is full.
    """
    with changing(path, lock_timeout) as change:
        store = change.store
        prefix = "" if media_root is None else above(store, media_root)
        if len(store.segments) == 1 and not store.manifest.removed and not prefix:
            return False
        rewrite = functools.partial(with_prefix, prefix=prefix) if prefix else None
        change.merge(0, len(change.segments), rewrite)
        root = str(Path(media_root).resolve()) if prefix and media_root else store.manifest.media_root
        change.publish(replace(change.store.manifest, media_root=root))
        return True
