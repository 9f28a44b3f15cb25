"""Structures in ``derived/``: built from segments, never part of a commit, lost and built again at any time.

One directory an engine: its files and ``derived.json``, which names the segments that it covers. A segment
never changes, so a derived index is right for as long as the segment is there; rows of other segments are
searched exactly (`limbeck.index.ann_search`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import (
    Kind,
    atomic_dir,
    cannot_write,
    check_plain,
    read_json,
    remove_leftovers,
    remove_tree,
    sha256_json,
    write_json,
)
from limbeck.files.names import aside_of, old_of
from limbeck.index.checked import check_file, readable
from limbeck.index.engines import engine_class
from limbeck.index.engines.base import Engine, Points, choose_options
from limbeck.index.lock import WAIT_SECONDS, writer_lock
from limbeck.index.manifest import FileEntry, SegmentEntry
from limbeck.index.measured import read_measured, write_measured
from limbeck.index.segments import file_entry, same_file
from limbeck.index.store import IndexStore
from limbeck.spaces import Space
from limbeck.typed import is_inside, typed

FORMAT = 1
FOLDER, ABOUT, MEASURED = "derived", "derived.json", "measured.json"
# Not by its description: a damaged one is built again.
ENGINE = Kind("engine", r"[a-z_]+\.(npy|faiss|json)")


@dataclass(frozen=True)
class _About:
    """What ``derived.json`` says besides format and checksum."""

    name: str
    options: dict[str, int]
    space: dict[str, Any]
    segments: list[SegmentEntry]
    files: dict[str, FileEntry]
    seconds: float
    created: str


@dataclass(frozen=True)
class Derived:
    """A derived index as its file describes it; nothing of the engine is read.

    Attributes:
        folder: where it stands.
        name: of the engine.
        options: it was built with.
        space: of the points, as JSON.
        segments: it covers, in the order of its rows.
        files: size and SHA-256 of each.
        seconds: it took to build.
        created: UTC time.
    """

    folder: Path
    name: str
    options: dict[str, int]
    space: dict[str, Any]
    segments: list[SegmentEntry]
    files: dict[str, FileEntry]
    seconds: float
    created: str

    @property
    def rows(self) -> int:
        """Rows that it was built over."""
        return sum(segment.rows for segment in self.segments)

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(entry.size for entry in self.files.values())

    def covered(self, store: IndexStore) -> int:
        """Rows of a store that it covers."""
        names = {segment.name for segment in store.manifest.segments}
        return sum(segment.rows for segment in self.segments if segment.name in names)

    def open(self, space: Space) -> Engine:
        """Open the engine, once its files were compared with their checksums.

        Raises:
            LimbeckError: of another space, a missing or damaged file, faiss not installed.
        """
        if self.space != space.to_json():
            raise LimbeckError(f"{self.folder}: built over points of another space; build it again")
        for name, entry in self.files.items():  # above all those of faiss, which believes any length it reads
            check_file(self.folder / name, entry, self._mend())
        return engine_class(space.storage, self.name)(self.folder, self.rows)

    def verify(self) -> int:
        """Compare every file with its SHA-256; the number of files.

        Raises:
            LimbeckError: names each file that differs.
        """
        with readable(self.folder):
            bad = [name for name, entry in self.files.items() if not same_file(self.folder / name, entry)]
        if bad:
            raise LimbeckError(f"{self.folder}: damaged: {', '.join(bad)}; {self._mend()}")
        _ = self.measured  # an error where it is damaged
        return len(self.files)

    @property
    def measured(self) -> dict[str, Any] | None:
        """What `limbeck.index.calibration` found for it, a `Measured` as JSON; None if it was not measured.

        Raises:
            LimbeckError: damaged, or of another build.
        """
        path = self.folder / MEASURED
        return read_measured(path, self._fingerprint(), self._mend()) if path.exists() else None

    def keep_measured(self, value: Mapping[str, Any]) -> None:
        """Write what was measured beside it."""
        check_plain(self.folder.parent, self.folder)
        write_measured(self.folder / MEASURED, self._fingerprint(), value)

    def _fingerprint(self) -> str:
        return sha256_json([self.created, {name: entry.sha256 for name, entry in self.files.items()}])

    def _mend(self) -> str:
        return f"run limbeck index engine {self.folder.parent.parent} --engine {self.name} again"


def write_derived(
    store: IndexStore,
    name: str,
    options: Mapping[str, int] | None = None,
    *,
    lock_timeout: float = WAIT_SECONDS,
) -> Derived:
    """Build an engine over all segments of a store; it replaces one of the same name when it stands.

    Args:
        store: an opened index; writers may go on meanwhile.
        name: of the engine (`limbeck.index.engines.engine_names`).
        options: as the engine knows them.
        lock_timeout: seconds to wait for another build in the same index.

    Raises:
        LimbeckError: an unknown engine or option, another build under way, a full disk.
    """
    cls = engine_class(store.space.storage, name)
    if not store.rows:
        raise LimbeckError(f"{store.path}: holds no items; add some first")
    points = Points(store.points, engine_points(store.space))
    chosen = choose_options(cls, points.rows, points.columns, options or {})
    root = store.path / FOLDER
    check_plain(root, root / name)
    with writer_lock(root, lock_timeout):
        remove_leftovers(root)
        with atomic_dir(root / name, replaces=ENGINE) as folder:
            started = time.perf_counter()
            cls.write(folder, points, chosen)
            files = {file.name: file_entry(file) for file in sorted(folder.iterdir())}
            found = Derived(
                root / name,
                name,
                chosen,
                store.space.to_json(),
                store.manifest.segments,
                files,
                round(time.perf_counter() - started, 3),
                datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
            body = {
                "format": FORMAT,
                **{key: value for key, value in asdict(found).items() if key != "folder"},
            }
            write_json(folder / ABOUT, {**body, "checksum": sha256_json(body)})
    return found


def engine_points(space: Space) -> Any:
    """What makes the points of a segment ready for an engine."""
    return {"codes": np.asarray, "vectors": space.coordinates}[space.storage]


def derived_names(path: Path) -> list[str]:
    """Names of the derived indexes of an index directory."""
    return sorted(about.parent.name for about in (Path(path) / FOLDER).glob(f"[!.]*/{ABOUT}"))


def open_derived(path: Path, name: str) -> Derived:
    """Read the description of a derived index.

    Raises:
        LimbeckError: there is none of this name, it is damaged, or of a newer format.
    """
    folder = Path(path) / FOLDER / name
    there = derived_names(path)
    if name not in there:
        hint = f"there are {', '.join(there)}" if there else "there is none"
        raise LimbeckError(
            f"{path}: no engine {name!r} built ({hint}); run limbeck index engine {path} --engine {name}"
        )
    value = read_json(folder / ABOUT)
    body = {key: item for key, item in value.items() if key != "checksum"} if isinstance(value, dict) else {}
    if body.get("format", FORMAT) != FORMAT:
        raise LimbeckError(
            f"{folder / ABOUT}: format {str(body['format'])[:40]}, this limbeck reads {FORMAT}; upgrade"
        )
    if "format" not in body or value.get("checksum") != sha256_json(body):
        raise LimbeckError(f"{folder / ABOUT}: damaged (checksum differs); build the engine again")
    mend = "build the engine again"
    body.pop("format")
    about = typed(_About, body, folder / ABOUT, mend)
    if about.name != name or not all(map(is_inside, about.files)) or ABOUT in about.files:
        raise LimbeckError(f"{folder / ABOUT}: is not that of {name}; {mend}")
    if any(segment.rows <= 0 for segment in about.segments) or not about.segments:
        raise LimbeckError(f"{folder / ABOUT}: covers no rows; {mend}")
    return Derived(folder, **vars(about))


def remove_derived(path: Path, name: str, *, lock_timeout: float = WAIT_SECONDS) -> None:
    """Take a derived index away; the index itself stays whole.

    Raises:
        LimbeckError: there is none of this name, another build under way.
    """
    root = Path(path) / FOLDER
    if name not in derived_names(path):
        open_derived(path, name)  # says what there is
    check_plain(root, root / name)
    with writer_lock(root, lock_timeout):
        why = ENGINE.foreign(root / name)
        if why is not None:
            raise LimbeckError(f"{root / name}: {why}; move that away first")
        aside = old_of(aside_of(root / name))
        try:
            (root / name).rename(aside)
            remove_tree(aside)
        except OSError as error:
            raise cannot_write(root, error) from None


def engines_info(store: IndexStore) -> list[dict[str, Any]]:
    """What each derived index covers of a store, as JSON values; one that cannot be read has ``error``."""
    found: list[dict[str, Any]] = []
    for name in derived_names(store.path):
        try:
            derived = open_derived(store.path, name)
            measured = derived.measured
        except LimbeckError as error:
            found.append({"name": name, "error": str(error)})
            continue
        covered = derived.covered(store)
        found.append(
            {
                "name": name,
                "options": derived.options,
                "bytes": derived.bytes,
                "created": derived.created,
                "covered": covered,
                "uncovered": store.rows - covered,
                "uncovered_share": round(1 - covered / store.rows, 6) if store.rows else 0.0,
                "gone": derived.rows - covered,
                "measured": measured is not None,
                "scanned": _scanned(measured or {}),
            }
        )
    return found


def _scanned(measured: Mapping[str, Any]) -> float:
    """Share of the measured queries that went over to the exact scan, at the most thorough setting."""
    entries = measured.get("settings", [{}])
    return max(entries[-1].get("scanned", {}).values(), default=0.0)
