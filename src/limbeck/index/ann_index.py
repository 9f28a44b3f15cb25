"""Builds, opens and removes the derived indexes in ``derived/``: search structures made from segments.

A derived index is never part of a commit; you can delete it and build it again at any time. Each engine has
one directory with its files and ``derived.json``, which names the segments that it covers. Segments never
change, so a derived index is valid for as long as its segments exist. Rows of other segments are searched
exactly (`limbeck.index.ann_search`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

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
from limbeck.files.names import replaced_path, temporary_path
from limbeck.index.checked import check_file, readable
from limbeck.index.engines import engine_class, engine_names
from limbeck.index.engines.base import Engine, Points, resolve_build_params
from limbeck.index.lock import WAIT_SECONDS, writer_lock
from limbeck.index.manifest import FileEntry, SegmentEntry
from limbeck.index.measured import Measured, read_measured, write_measured
from limbeck.index.segments import file_entry, same_file
from limbeck.index.store import IndexStore
from limbeck.spaces import Space
from limbeck.typed import Json, is_inside, typed

FORMAT = 1
FOLDER, ABOUT, MEASURED = "derived", "derived.json", "measured.json"
# No description is checked: a damaged derived index can be replaced as well.
ENGINE = Kind("engine", r"[a-z_]+\.(npy|faiss|json)")


@dataclass(frozen=True)
class _About:
    """Holds the fields of ``derived.json`` except format and checksum."""

    name: str
    options: dict[str, int]
    space: dict[str, Json]
    segments: list[SegmentEntry]
    files: dict[str, FileEntry]
    seconds: float
    created: str


@dataclass(frozen=True)
class Derived(_About):
    """Describes a derived index as ``derived.json`` records it; the engine itself is not read.

    Attributes:
        name: the name of the engine.
        options: the build parameters that it was built with.
        space: the space of the points, as JSON.
        segments: the segments that it covers, in the order of its rows.
        files: size and SHA-256 of each file.
        seconds: the build time.
        created: the UTC time of the build.
        folder: its directory.
    """

    folder: Path

    @property
    def rows(self) -> int:
        """The number of rows that it was built over."""
        return sum(segment.rows for segment in self.segments)

    @property
    def bytes(self) -> int:
        """The size of its files in bytes."""
        return sum(entry.size for entry in self.files.values())

    def covered(self, store: IndexStore) -> int:
        """Return the number of rows of a store that it covers."""
        names = {segment.name for segment in store.manifest.segments}
        return sum(segment.rows for segment in self.segments if segment.name in names)

    def open(self, space: Space) -> Engine:
        """Open the engine after comparing its files with their checksums.

        Raises:
            LimbeckError: the space differs, a file is missing or damaged, or faiss is not installed.
        """
        if self.space != space.to_json():
            raise LimbeckError(
                f"{self.folder}: was built over points of another space; build it again",
                code="E-ENGINE-STALE",
            )
        for name, entry in self.files.items():  # faiss trusts any length that it reads
            check_file(self.folder / name, entry, self._advice())
        return engine_class(space.storage, self.name)(self.folder, self.rows)

    def verify(self) -> int:
        """Compare every file with its SHA-256 and return the number of files.

        Raises:
            LimbeckError: a file differs; the error names each one.
        """
        with readable(self.folder):
            bad = [name for name, entry in self.files.items() if not same_file(self.folder / name, entry)]
        if bad:
            raise LimbeckError(
                f"{self.folder}: is damaged: {', '.join(bad)}; {self._advice()}", code="E-ENGINE-DAMAGED"
            )
        _ = self.measured  # raises if the measurement is damaged
        return len(self.files)

    @property
    def measured(self) -> Measured | None:
        """The measurement by `limbeck.index.calibration`; None if there is none.

        Raises:
            LimbeckError: the measurement is damaged or belongs to another build.
        """
        path = self.folder / MEASURED
        return read_measured(path, self.fingerprint(), self._advice()) if path.exists() else None

    def keep_measured(self, value: Measured) -> None:
        """Write a measurement into its directory."""
        check_plain(self.folder.parent, self.folder)
        write_measured(self.folder / MEASURED, self.fingerprint(), value)

    def fingerprint(self) -> str:
        """Return the hash that its measurement names."""
        return sha256_json([self.created, {name: entry.sha256 for name, entry in self.files.items()}])

    def _advice(self) -> str:
        return f"run limbeck index engine {self.folder.parent.parent} --engine {self.name} again"


def write_derived(
    store: IndexStore,
    name: str,
    params: Mapping[str, int] | None = None,
    *,
    lock_timeout: float = WAIT_SECONDS,
) -> Derived:
    """Build an engine over all segments of a store; once complete, it replaces one of the same name.

    Args:
        store: an opened index; other processes may write to the index during the build.
        name: the name of the engine (`limbeck.index.engines.engine_names`).
        params: build parameters of the engine; the others get their defaults.
        lock_timeout: seconds to wait for another build in the same index.

    Returns:
        The description of the derived index.

    Raises:
        LimbeckError: the engine or a parameter is unknown, the index is empty, another build holds the lock,
            or the disk is full.
    """
    cls = engine_class(store.space.storage, name)
    if not store.rows:
        raise LimbeckError(f"{store.path}: holds no items; add some first", code="E-INDEX-EMPTY")
    points = Points(store.points, engine_points(store.space))
    chosen = resolve_build_params(cls, points.rows, points.columns, params or {})
    root = store.path / FOLDER
    check_plain(root, root / name)
    with writer_lock(root, lock_timeout):
        remove_leftovers(root)
        with atomic_dir(root / name, replaces=ENGINE) as folder:
            started = time.perf_counter()
            cls.write(folder, points, chosen)
            files = {file.name: file_entry(file) for file in sorted(folder.iterdir())}
            found = Derived(
                name,
                chosen,
                store.space.to_json(),
                store.manifest.segments,
                files,
                round(time.perf_counter() - started, 3),
                datetime.now(UTC).isoformat(timespec="milliseconds"),
                root / name,
            )
            body = {
                "format": FORMAT,
                **{key: value for key, value in asdict(found).items() if key != "folder"},
            }
            write_json(folder / ABOUT, {**body, "checksum": sha256_json(body)})
    return found


def engine_points(space: Space) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that converts stored points (n, width) into an engine's input (n, columns)."""
    return np.asarray if space.storage == "codes" else space.coordinates


def derived_names(path: Path) -> list[str]:
    """Return the names of the derived indexes of an index directory, sorted."""
    return sorted(about.parent.name for about in (Path(path) / FOLDER).glob(f"[!.]*/{ABOUT}"))


def open_derived(path: Path, name: str) -> Derived:
    """Read the description of a derived index.

    Raises:
        LimbeckError: there is none of this name, it is damaged, or its format is newer.
    """
    folder = Path(path) / FOLDER / name
    there = derived_names(path)
    if name not in there:
        hint = f"there are {', '.join(there)}" if there else "there is none"
        names = list(dict.fromkeys([*engine_names("codes"), *engine_names("vectors")]))
        mend = f"run limbeck index engine {path} --engine {name}"
        if name not in names:
            mend = f"engines are exact, {', '.join(names)}"
        raise LimbeckError(
            f"{path}: there is no engine {name!r} built ({hint}); {mend}", code="E-ENGINE-MISSING"
        )
    value = read_json(folder / ABOUT)
    body = {key: item for key, item in value.items() if key != "checksum"} if isinstance(value, dict) else {}
    if body.get("format", FORMAT) != FORMAT:
        raise LimbeckError(
            f"{folder / ABOUT}: format {str(body['format'])[:40]}, but this limbeck reads {FORMAT}; upgrade",
            code="E-FILE-VERSION",
        )
    if "format" not in body or value.get("checksum") != sha256_json(body):
        raise LimbeckError(
            f"{folder / ABOUT}: is damaged (checksum differs); build the engine again",
            code="E-ENGINE-DAMAGED",
        )
    advice = "build the engine again"
    body.pop("format")
    about = typed(_About, body, folder / ABOUT, advice)
    if about.name != name or not all(map(is_inside, about.files)) or ABOUT in about.files:
        raise LimbeckError(
            f"{folder / ABOUT}: does not describe the engine {name}; {advice}", code="E-ENGINE-DAMAGED"
        )
    if any(segment.rows <= 0 for segment in about.segments) or not about.segments:
        raise LimbeckError(f"{folder / ABOUT}: covers no rows; {advice}", code="E-ENGINE-DAMAGED")
    return Derived(**vars(about), folder=folder)


def remove_derived(path: Path, name: str, *, lock_timeout: float = WAIT_SECONDS) -> None:
    """Remove a derived index; the index itself does not change.

    Raises:
        LimbeckError: there is none of this name, or a build holds the lock.
    """
    root = Path(path) / FOLDER
    if name not in derived_names(path):
        open_derived(path, name)  # says what there is
    check_plain(root, root / name)
    with writer_lock(root, lock_timeout):
        why = ENGINE.foreign(root / name)
        if why is not None:
            raise LimbeckError(f"{root / name}: {why}; move that away first", code="E-PATH-EXISTS")
        aside = replaced_path(temporary_path(root / name))
        try:
            (root / name).rename(aside)
            remove_tree(aside)
        except OSError as error:
            raise cannot_write(root, error) from None


def engines_info(store: IndexStore) -> list[dict[str, Json]]:
    """Return the state of each derived index as JSON: build parameters, bytes, rows covered and not covered.

    An entry that cannot be read has the keys ``name`` and ``error`` only.
    """
    found: list[dict[str, Json]] = []
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
                # of the most thorough parameters
                "fallbacks": max(measured.entries[-1].fallbacks.values(), default=0.0) if measured else 0.0,
            }
        )
    return found
