"""What a writer, holding the lock, may remove: files that no reader can still need."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.index.lock import HOLDER_NAME, LOCK_NAME
from limbeck.index.manifest import generations, manifest_path, read_manifest

FOLDERS = ("segments", "encoders", "tombstones", "derived")
_OURS = re.compile(r"manifest-\d+\.json|\.manifest-\d+\.json\.[0-9a-f]+\.tmp")
_MIN_AGE_SECONDS = 3600.0


def require_index_directory(path: Path) -> None:
    """Refuse to write an index into a place that holds anything else.

    Raises:
        LimbeckError: a file, or a directory with foreign entries.
    """
    if path.exists() and not path.is_dir():
        raise LimbeckError(f"{path}: a file, not an index directory; choose another --out")
    if path.is_dir():
        for entry in path.iterdir():
            ours = entry.name in (*FOLDERS, LOCK_NAME, HOLDER_NAME) or _OURS.fullmatch(entry.name)
            if not ours:
                raise LimbeckError(
                    f"{path}: holds {entry.name}, so it is no index; choose another --out or empty it"
                )


def collect_garbage(path: Path) -> None:
    """Remove what the last two manifests do not refer to and what is older than an hour.

    Without any manifest, everything is left over from a build cut short: no reader can have it open, and the
    caller holds the lock, so its age does not matter.
    """
    published = generations(path)
    kept: set[Path] = set()
    for generation in published[-2:]:
        try:
            manifest = read_manifest(path, generation)
        except LimbeckError:
            return  # what a damaged manifest refers to is not known, so nothing is garbage
        kept |= {path / owner for owner in manifest.owners}
    newest_allowed = time.time() - _MIN_AGE_SECONDS if published else float("inf")
    old_manifests = [manifest_path(path, generation) for generation in published[:-2]]
    for entry in [*_candidates(path), *old_manifests]:
        if entry in kept or entry.stat().st_mtime > newest_allowed:
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _candidates(path: Path) -> Iterator[Path]:
    for folder in ("segments", "encoders", "tombstones"):
        if (path / folder).is_dir():
            yield from (path / folder).iterdir()
    yield from path.glob(".manifest-*.tmp")
