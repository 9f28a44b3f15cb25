"""Reads and publishes manifests: each one lists the files of one generation of an index.

A commit writes its files first and ``manifest-<generation>.json`` last, by an atomic link. The highest number
is the current state. A damaged manifest is an error; an older state never replaces it (docs/index-format.md).
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import cannot_read, fsync_path, json_text, publish_new, read_json, sha256_json
from limbeck.typed import Json, is_inside, typed

READER = 2  # the format that this code can open
WITH_REMOVED = 2  # least reader for an index with removed rows or with columns added later
_NAME = re.compile(r"manifest-([1-9][0-9]*)\.json")


@dataclass(frozen=True)
class FileEntry:
    """Holds size in bytes and hex SHA-256 of one file of the index."""

    size: int
    sha256: str


@dataclass(frozen=True)
class SegmentEntry:
    """Describes an immutable segment of ``rows`` rows in ``segments/<name>/``."""

    name: str
    rows: int


@dataclass(frozen=True)
class TombstoneEntry:
    """Describes the removed rows of a segment: ``rows`` row numbers in ``tombstones/<name>``."""

    name: str
    segment: str
    rows: int


@dataclass(frozen=True)
class EncoderEntry:
    """Describes a query encoder in ``encoders/<name>/``; ``modalities`` maps "text", "image" to its input."""

    name: str
    space_id: str
    modalities: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """Describes an index at one generation; the rows are in the order of ``segments``.

    ``embeddings`` describes the kept embeddings (`limbeck.spaces.Kept`); it is None if there are none, and in
    indexes of version 0.1. ``asymmetric`` says that a query's real numbers, not its code, are compared with
    the items' codes unless a search asks otherwise.
    """

    generation: int
    space: dict[str, Json]
    space_id: str | None
    modality: str
    schema: list[list[str]]
    segments: list[SegmentEntry]
    encoders: list[EncoderEntry]
    files: dict[str, FileEntry]
    media_root: str | None = None
    model: str | None = None
    created: str = ""
    tombstones: list[TombstoneEntry] = field(default_factory=list)
    min_reader: int = 1
    embeddings: dict[str, Json] | None = None
    asymmetric: bool = False

    @property
    def rows(self) -> int:
        """The number of rows of all segments, including removed ones."""
        return sum(segment.rows for segment in self.segments)

    @property
    def removed(self) -> int:
        """The number of removed rows that are still in a segment."""
        return sum(entry.rows for entry in self.tombstones)

    @property
    def owners(self) -> set[str]:
        """The paths that entries of `files` may have, or be inside: ``segments/<name>`` and so on."""
        names = {
            "segments": [entry.name for entry in self.segments],
            "encoders": [entry.name for entry in self.encoders],
            "tombstones": [entry.name for entry in self.tombstones],
        }
        return {f"{folder}/{name}" for folder, inside in names.items() for name in inside}

    def files_in(self, folder: str) -> dict[str, FileEntry]:
        """Return the entries of a directory such as ``segments/<name>``, by file name within it."""
        start = f"{folder}/"
        return {
            name.removeprefix(start): entry for name, entry in self.files.items() if name.startswith(start)
        }

    def to_json(self) -> dict[str, Json]:
        """Return the JSON value of a manifest file, with its checksum."""
        value = {"format": self.min_reader, **asdict(self)}
        return {**value, "checksum": sha256_json(value)}

    @classmethod
    def from_json(cls, value: object, path: Path) -> Manifest:
        """Check and read a manifest's JSON value.

        Raises:
            LimbeckError: it is not a manifest, is damaged, or needs a newer reader; the error names ``path``.
        """
        if not isinstance(value, dict) or not isinstance(value.get("format"), int):
            raise LimbeckError(
                f"{path}: is not an index manifest; restore the file or rebuild the index",
                code="E-INDEX-DAMAGED",
            )
        needs = value.get("min_reader")
        if not isinstance(needs, int) or needs > READER:
            raise LimbeckError(
                f"{path}: index format {value['format']} needs reader {needs}, "
                f"this limbeck has {READER}; upgrade limbeck",
                code="E-FILE-VERSION",
            )
        body = {key: item for key, item in value.items() if key != "checksum"}
        if value.get("checksum") != sha256_json(body):
            raise LimbeckError(
                f"{path}: is damaged (checksum differs); restore the file or rebuild the index",
                code="E-INDEX-DAMAGED",
            )
        # A later format may add keys that this reader can ignore; then its min_reader stays low.
        known = {key: item for key, item in body.items() if key in cls.__dataclass_fields__}
        manifest = typed(cls, known, path, "restore the file or rebuild the index")
        _check_names(manifest, path)
        return manifest


def _check_names(manifest: Manifest, path: Path) -> None:
    """Check that every name is inside the index, so that a foreign manifest cannot open other files."""
    folders = [owner.partition("/")[2] for owner in manifest.owners]
    for name in [*manifest.files, *folders]:
        if not is_inside(name) or (name in folders and "/" in name):
            raise LimbeckError(
                f"{path}: file name {name!r} leaves the index; do not use this index", code="E-INDEX-DAMAGED"
            )
    held = {"/".join(name.split("/")[:2]) for name in manifest.files}
    if not manifest.owners <= held:
        raise LimbeckError(
            f"{path}: names no files of {min(manifest.owners - held)}; restore the file",
            code="E-INDEX-DAMAGED",
        )
    if any(len(column) != 2 for column in manifest.schema):
        raise LimbeckError(
            f"{path}: its schema is not a list of names and types; restore the file", code="E-INDEX-DAMAGED"
        )
    numbers = [entry.size for entry in manifest.files.values()]
    numbers += [entry.rows for entry in manifest.segments] + [entry.rows for entry in manifest.tombstones]
    if min(numbers, default=0) < 0:
        raise LimbeckError(
            f"{path}: a size or a number of rows is negative; restore it or rebuild the index",
            code="E-INDEX-DAMAGED",
        )


def manifest_path(root: Path, generation: int) -> Path:
    """Return the path of a generation's manifest."""
    return Path(root) / f"manifest-{generation}.json"


def generations(root: Path) -> list[int]:
    """Return the published generations, oldest first; [] if there is none or no directory."""
    root = Path(root)
    if not root.is_dir():
        return []
    try:
        found = [_NAME.fullmatch(entry.name) for entry in root.iterdir()]
    except OSError as error:
        raise cannot_read(root, error) from None
    return sorted(int(match.group(1)) for match in found if match)


def read_manifest(root: Path, generation: int) -> Manifest:
    """Read and check one manifest.

    Raises:
        LimbeckError: as `Manifest.from_json`, or the file is missing or of another generation.
    """
    path = manifest_path(root, generation)
    manifest = Manifest.from_json(read_json(path), path)
    if manifest.generation != generation:
        raise LimbeckError(
            f"{path}: names generation {manifest.generation}; restore the file that belongs under this name",
            code="E-INDEX-DAMAGED",
        )
    return manifest


def newest_manifest(root: Path) -> Manifest:
    """Return the manifest of the highest generation.

    Raises:
        LimbeckError: there is no directory, no manifest, or the manifest is damaged.
    """
    root = Path(root)
    if not root.is_dir():
        raise LimbeckError(
            f"{root}: there is no such index directory; make one with limbeck index build",
            code="E-INDEX-MISSING",
        )
    published = generations(root)
    if not published:
        raise LimbeckError(
            f"{root}: is not an index, or its manifest-*.json is lost; name the directory that limbeck index "
            "build wrote, restore that file, or build again",
            code="E-INDEX-MISSING",
        )
    return read_manifest(root, published[-1])


class Unsettled(OSError):
    """Signals that a failed commit may still appear after a power cut, so that its files must stay."""


def publish(root: Path, manifest: Manifest) -> Path:
    """Publish a generation atomically, and return its path when it is on disk.

    Raises:
        LimbeckError: another writer has published the same generation.
        OSError: the disk failed and the generation is not published. `Unsettled` means that this is not
            certain.
    """
    root = Path(root)
    target = manifest_path(root, manifest.generation)
    aside = root / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with aside.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(json_text(manifest.to_json(), indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # Unlike a rename, a link fails if the name exists, so two writers cannot publish one generation.
            publish_new(aside, target)
        except FileExistsError:
            raise LimbeckError(
                f"{target}: another writer has published it; run the command again", code="E-INDEX-LOCKED"
            ) from None
        try:
            fsync_path(root)
        except BaseException as error:
            target.unlink(missing_ok=True)
            try:
                fsync_path(root)
            except OSError:
                raise Unsettled(*error.args) from error
            raise
    finally:
        aside.unlink(missing_ok=True)
    return target
