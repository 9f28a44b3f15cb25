"""Removes files that no reader can still need; the writer that holds the lock calls this."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from limbeck.errors import LimbeckError
from limbeck.files import check_plain, remove_tree
from limbeck.index.lock import HOLDER_NAME, LOCK_NAME
from limbeck.index.manifest import generations, manifest_path, read_manifest

FOLDERS = ("segments", "encoders", "tombstones", "derived")
_OURS = re.compile(r"manifest-\d+\.json|\.manifest-\d+\.json\.[0-9a-f]+\.tmp")
MIN_AGE_SECONDS = 3600.0
# Names that writers create in the folders; nothing else there is removed.
_ENTRIES = {
    "segments": re.compile(r"[0-9a-f]{32}"),
    "encoders": re.compile(r"[0-9a-f]{32}|\.[0-9a-f]{32}\.[0-9a-f]{8}\.(tmp|old)"),
    "tombstones": re.compile(r"[0-9a-f]{32}-\d+\.npy"),
    "derived": re.compile(
        rf"{re.escape(LOCK_NAME)}|{re.escape(HOLDER_NAME)}|[a-z0-9-]+|\.[a-z0-9-]+\.[0-9a-f]{{8}}\.(tmp|old)"
    ),
}

_SEGMENT_FILE = re.compile(r"(points|id_hash)\.npy|items\.arrow|id_hash\.runs")


def require_index_directory(path: Path) -> None:
    """Check that an index can be written to a directory without touching other files.

    A directory without a manifest must be new or left by an interrupted build, which has a lock file and only
    names that writers create. A folder of yours that is named ``segments`` by chance is neither.

    Raises:
        LimbeckError: ``path`` is a file, the directory has other entries, or one of the entries is a link.
    """
    if path.exists() and not path.is_dir():
        raise LimbeckError(
            f"{path}: is a file, not an index directory; choose another --out", code="E-PATH-KIND"
        )
    if not path.is_dir():
        return
    for entry in path.iterdir():
        ours = entry.name in (*FOLDERS, LOCK_NAME, HOLDER_NAME) or _OURS.fullmatch(entry.name)
        if not ours:
            _refuse(path, entry.name)
    require_plain(path)
    if generations(path):
        return
    for folder in FOLDERS:
        for entry in _entries(path / folder):
            if not (path / LOCK_NAME).is_file() or not _ENTRIES[folder].fullmatch(entry.name):
                _refuse(path, f"{folder}/{entry.name}")
    for entry in _entries(path / "segments"):
        for file in _entries(entry):
            if not _SEGMENT_FILE.fullmatch(file.name):
                _refuse(path, file.relative_to(path).as_posix())


def _refuse(path: Path, name: str) -> NoReturn:
    raise LimbeckError(
        f"{path}: holds {name}, so it is not an index; choose another --out or empty it", code="E-PATH-EXISTS"
    )


def require_plain(path: Path) -> None:
    """Check that no folder of an index, and no entry of one, is a link.

    Raises:
        LimbeckError: there is a link; the error names it.
    """
    places = [path / name for name in (LOCK_NAME, HOLDER_NAME, *FOLDERS)]
    check_plain(*places, *(entry for folder in FOLDERS for entry in _entries(path / folder)))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def collect_garbage(path: Path) -> None:
    """Remove what the last two manifests do not refer to, if it is older than an hour.

    Without any manifest, all files are left over from an interrupted build. No reader can have them open, and
    the caller holds the lock, so their age does not matter.
    """
    published = generations(path)
    kept: set[Path] = set()
    for generation in published[-2:]:
        try:
            manifest = read_manifest(path, generation)
        except LimbeckError:
            return  # a damaged manifest may refer to any file, so keep all
        kept |= {path / owner for owner in manifest.owners}
    newest_allowed = time.time() - MIN_AGE_SECONDS if published else float("inf")
    old_manifests = [manifest_path(path, generation) for generation in published[:-2]]
    for entry in [*_candidates(path), *old_manifests]:
        if entry in kept or entry.lstat().st_mtime > newest_allowed:
            continue
        remove_tree(entry)


def _candidates(path: Path) -> Iterator[Path]:
    for folder in ("segments", "encoders", "tombstones"):
        yield from (entry for entry in _entries(path / folder) if _ENTRIES[folder].fullmatch(entry.name))
    yield from (entry for entry in path.iterdir() if _OURS.fullmatch(entry.name) and entry.name[0] == ".")
