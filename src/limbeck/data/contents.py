"""Fingerprints of the files behind a pairs table: feature files by SHA-256, pictures by size, time and
content.

`Pairs.fingerprint` covers only the table, while a picture or a feature file may change under the same
table. A run records the contents at its start and compares them when it resumes.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.archives import open_archive
from limbeck.data.digests import file_digest
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.errors import LimbeckError
from limbeck.files import atomic_file, read_json, sha256_json, write_json
from limbeck.pictures import file_of

FILE, PICTURES = "data.json", "pictures.parquet"
READ_ALL = 2**26
"""Up to this many bytes all pictures are read for their digests; above it, `SAMPLE` pictures are."""
SAMPLE = 500
Picture = tuple[int, int, str | None]
"""Bytes, modification time in ns, digest or None."""
_PARTS = {"table": "pairs.parquet", "labels": "label_names of pairs.json", "protocol": "the protocol"}
_SCHEMA = pa.schema(
    [("image", pa.string()), ("size", pa.int64()), ("changed", pa.int64()), ("digest", pa.string())]
)


class FeatureFacts(TypedDict):
    """What identifies the content of a feature file."""

    file: str
    bytes: int
    scale: float
    sha256: str


@dataclass(frozen=True)
class Contents:
    """The contents at one time.

    Attributes:
        table: the SHA-256 of ``pairs.parquet``.
        labels: the hash of the label order.
        protocol: the hash of the protocol as it applies to this table.
        rules: the hash of the protocol before it was applied to this table.
        features: name → ``file``, ``bytes``, ``scale``, ``sha256``.
        pictures: path → (bytes, modification time in ns, digest or None); −1 bytes where it is missing. In a
            zip the digest is the CRC-32 that the archive lists, and the time is 0. For shards: their paths
            without digests, and a sample of their pictures.
    """

    table: str
    labels: str
    protocol: str
    rules: str
    features: dict[str, FeatureFacts] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)

    @classmethod
    def of(
        cls, pairs: Pairs, protocol: Protocol, rows: Sequence[np.ndarray] = (), *, cache: Path | None = None
    ) -> Contents:
        """Read the current contents.

        ``rows`` are the rows whose pictures are compared; without them no picture is read. `file_digest`
        explains ``cache``.

        Raises:
            LimbeckError: a feature file cannot be read.
        """
        features: dict[str, FeatureFacts] = {
            name: {
                "file": str(file.path),
                "bytes": file.path.stat().st_size,
                "scale": file.scale,
                "sha256": file_digest(file.path, cache),
            }
            for name, file in pairs.feature_files.items()
        }
        chosen = np.unique(np.concatenate(rows)).tolist() if rows and pairs.media is not None else []
        images = [image for row in chosen if (image := pairs.image_path(row)) is not None]
        return cls(
            table=pairs.meta["sha256"],
            labels=sha256_json(pairs.label_names),
            protocol=protocol.hash,
            rules=protocol.general_hash,
            features=features,
            pictures=_pictures(pairs, images),
        )

    def save(self, run: Path) -> None:
        """Write ``data.json``, and ``pictures.parquet`` where pictures are compared."""
        if self.pictures:
            sizes, times, digests = zip(*self.pictures.values(), strict=True)
            columns = {"image": list(self.pictures), "size": sizes, "changed": times, "digest": digests}
            with atomic_file(run / PICTURES) as stream:
                pq.write_table(pa.table(columns, schema=_SCHEMA), stream, compression="zstd")
        facts = asdict(self) | {"format": 1, "pictures": len(self.pictures)}
        write_json(run / FILE, facts)

    @classmethod
    def load(cls, run: Path) -> Contents | None:
        """Read the contents that a run recorded at its start; None for a run of an older version without
        them.

        Raises:
            LimbeckError: a file is damaged.
        """
        if not (run / FILE).is_file():
            return None
        stored = read_json(run / FILE)
        try:
            pictures = {}
            if stored["pictures"]:
                table = pq.read_table(run / PICTURES, schema=_SCHEMA).to_pydict()
                rows = zip(table["size"], table["changed"], table["digest"], strict=True)
                pictures = dict(zip(table["image"], rows, strict=True))
            kept = {key: stored[key] for key in ("table", "labels", "protocol", "rules", "features")}
        except (KeyError, TypeError, OSError, pa.ArrowInvalid) as error:
            reason = " ".join(str(error).split())[:120]
            raise LimbeckError(
                f"{run / FILE}: is damaged ({reason}); choose another --out", code="E-RUN-DAMAGED"
            ) from None
        return cls(**kept, pictures=pictures)

    def changes(self, now: Contents) -> Changes:
        """Return the differences between these contents and the current ones."""
        changes = Changes()
        for key, what in _PARTS.items():
            if getattr(self, key) != getattr(now, key):
                changes.other.append(what)
        for name in sorted(self.features.keys() | now.features.keys()):
            before, after = self.features.get(name), now.features.get(name)
            if before is None or after is None or before["scale"] != after["scale"]:
                changes.other.append(f"features {name!r} of pairs.json")
            elif before["sha256"] != after["sha256"]:
                changes.files.append(after["file"])
        _compare_pictures(self.pictures, now.pictures, changes)
        return changes


@dataclass
class Changes:
    """Differences between two contents.

    Attributes:
        other: changed parts of the data set itself, which make it another data set.
        files: feature files and pictures whose content changed.
        copied: the number of pictures with new dates and equal sizes, where no compared digest differs.
        read: the number of pictures whose digests were compared.
    """

    other: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    copied: int = 0
    read: int = 0


def _compare_pictures(before: dict[str, Picture], after: dict[str, Picture], found: Changes) -> None:
    dated: list[str] = []
    for image in sorted(before.keys() | after.keys()):
        old, new = before.get(image), after.get(image)
        if old is None or new is None or old[0] != new[0]:
            found.files.append(image)
        elif old[2] is not None and new[2] is not None:
            found.read += 1
            if old[2] != new[2]:
                found.files.append(image)
        elif old[1] != new[1]:
            dated.append(image)
    # A copied collection has new dates throughout; then the pictures with digests decide.
    unread = sum(old[2] is None for old in before.values())
    if dated and len(dated) == unread and found.read:
        found.copied = len(dated)
    else:
        found.files.extend(dated)


def _pictures(pairs: Pairs, images: list[str]) -> dict[str, Picture]:
    if not images:
        return {}
    assert pairs.media is not None
    kind, root = pairs.media
    if kind == "zip":
        archive = open_archive(root) if root.is_file() else None
        found: dict[str, Picture] = {}
        for image in images:
            entry = archive.find(image) if archive is not None else None
            found[image] = (-1, 0, None) if entry is None else (entry.file_size, 0, f"{entry.CRC:08x}")
        return found
    if kind == "shards":
        return _shards(pairs, root, images)
    with ThreadPoolExecutor(8) as pool:
        stats = dict(zip(images, pool.map(lambda image: _stat(root / image), images), strict=True))
        there = [image for image in images if stats[image][0] >= 0]
        if sum(stats[image][0] for image in there) > READ_ALL:
            there = _sample(there)
        digests = dict(zip(there, pool.map(lambda image: _digest(root / image), there), strict=True))
    return {image: (*stats[image], digests.get(image)) for image in images}


def _shards(pairs: Pairs, root: Path, images: list[str]) -> dict[str, Picture]:
    """Return the sizes and times of the shards, and the digests of a sample of their pictures."""
    files = dict.fromkeys(file_of(image).as_posix() for image in images)
    chosen = set(_sample(images))
    rows = [row for row, image in enumerate(pairs.table.column("image").to_pylist()) if image in chosen]
    with ThreadPoolExecutor(8) as pool:
        stats = zip(files, pool.map(lambda file: _stat(root / file), files), strict=True)
        contents = list(pool.map(lambda row: _content(pairs, row), rows))
    return {file: (*stat, None) for file, stat in stats} | {
        str(pairs.image_path(row)): found for row, found in zip(rows, contents, strict=True)
    }


def _content(pairs: Pairs, row: int) -> Picture:
    try:
        content = pairs.image_bytes(row)
    except LimbeckError:
        return -1, 0, None
    return len(content), 0, hashlib.sha256(content).hexdigest()[:32]


def _sample(images: list[str]) -> list[str]:
    """Return at most `SAMPLE` pictures, chosen by their paths."""
    return heapq.nsmallest(SAMPLE, images, key=lambda image: hashlib.sha256(image.encode()).digest())


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)[:32]
    except LimbeckError:
        return None
