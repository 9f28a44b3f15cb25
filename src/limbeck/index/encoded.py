"""Reads and writes encoded sets: the output of an encoder, one point per item (docs/design.md §3.7).

An encoded set is a directory with ``encoded.json``, ``items.parquet`` (``id``, ``path``, further metadata),
``points.npy``, and ``skipped.jsonl`` if some items could not be read.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.files import Kind, atomic_dir, check_new_directory, json_text, read_json, sha256_file, write_json
from limbeck.index.arrays import NpyWriter, open_npy
from limbeck.index.checked import CheckedFile
from limbeck.index.items import Items, TableBuffer, as_items, hash_ids
from limbeck.index.manifest import FileEntry
from limbeck.spaces import Kept, Space, space_from_json
from limbeck.typed import Json, typed

if TYPE_CHECKING:
    import pyarrow.parquet as pq  # imported where it is used: slow, and a search does without

FORMAT = "limbeck.encoded/1"
META, ITEMS, POINTS, SKIPPED = "encoded.json", "items.parquet", "points.npy", "skipped.jsonl"
ENCODED = Kind(
    "encoded set",
    "|".join(map(re.escape, (META, ITEMS, POINTS, SKIPPED))),
    META,
    lambda value: str(value.get("format")).startswith("limbeck.encoded/"),
)


@dataclass(frozen=True)
class EncodedMeta:
    """Describes the points of an encoded set.

    Attributes:
        space: the space of the points.
        space_id: hash of item tower, lift and space; None for points of other programs.
        modality: the modality of the items, "image" or "text".
        model: the run or model directory that encoded them, for people to read.
        media_root: folder or zip that the items' ``path`` is relative to.
        embeddings: describes the items' column of embeddings; None if they have none.
    """

    space: Space
    space_id: str | None
    modality: str = "image"
    model: str | None = None
    media_root: str | None = None
    embeddings: Kept | None = None


class EncodedWriter:
    """Writes batches of points and items; `write_encoded` makes it.

    Attributes:
        skipped: an ``{"id", "reason"}`` for each item that could not be encoded.
    """

    def __init__(self, directory: Path, meta: EncodedMeta, points: NpyWriter) -> None:
        self._directory, self._meta, self._points = directory, meta, points
        self._items: pq.ParquetWriter | None = None
        self._buffer: TableBuffer | None = None
        self._schema: pa.Schema | None = None
        self.skipped: list[dict[str, str]] = []

    @property
    def rows(self) -> int:
        """The number of points written so far."""
        return self._points.rows

    def append(self, points: np.ndarray, items: Items) -> None:
        """Write (n, width) points and their n items; all batches must have the same columns.

        Raises:
            LimbeckError: points are not of the space, or their number or the columns do not fit.
        """
        table = as_items(items)
        checked = self._meta.space.check(points)
        if len(checked) != len(table):
            raise LimbeckError(
                f"encoded set: {len(checked)} points but {len(table)} items; give one item per point",
                code="E-ARRAY-ROWS",
            )
        if self._items is None:
            import pyarrow.parquet as pq

            self._schema = table.schema
            self._items = pq.ParquetWriter(self._directory / ITEMS, table.schema, compression="zstd")
            self._buffer = TableBuffer(self._items)
        assert self._buffer is not None and self._schema is not None
        if not table.schema.equals(self._schema):
            raise LimbeckError(
                f"encoded set: items change their columns to {table.schema.names}; keep the same ones",
                code="E-TABLE-COLUMN",
            )
        self._points.append(checked)
        self._buffer.append(table)

    def skip(self, item_id: str, reason: str) -> None:
        """Record an item that could not be encoded."""
        self.skipped.append({"id": item_id, "reason": reason})

    def close(self) -> None:
        """Finish the table of items; `write_encoded` calls this, after an error too."""
        if self._items is not None and self._buffer is not None:
            self._buffer.flush()
            self._items.close()
            self._items = None


def check_free(out: Path, *, replace: bool = False) -> None:
    """Check before any work that an encoded set can be written to ``out``.

    Raises:
        LimbeckError: ``out`` exists; with ``replace``, it is not an encoded set.
    """
    check_new_directory(out, ENCODED if replace else None)


@contextlib.contextmanager
def write_encoded(out: Path | str, meta: EncodedMeta, *, replace: bool = False) -> Iterator[EncodedWriter]:
    """Write an encoded set batch by batch; it appears when the block ends, and not at all after an error.

    Args:
        out: the new directory.
        meta: describes the points.
        replace: replace an encoded set that exists at ``out``.

    Raises:
        LimbeckError: ``out`` exists, nothing was written, ids repeat, points are not of the space, or the
            disk is full.
    """
    with atomic_dir(out, replaces=ENCODED if replace else None) as aside:
        with (
            NpyWriter(aside / POINTS, meta.space.dtype, meta.space.width) as points,
            contextlib.closing(EncodedWriter(aside, meta, points)) as writer,
        ):
            yield writer
        if writer.rows == 0:
            raise LimbeckError(
                f"{out}: there are no items to write; give at least one that can be read",
                code="E-ENCODE-EMPTY",
            )
        import pyarrow.parquet as pq

        check_unique_ids(pq.read_table(aside / ITEMS, columns=["id"]).column("id").to_pylist(), str(out))
        if writer.skipped:
            lines = "".join(json_text(entry) + "\n" for entry in writer.skipped)
            (aside / SKIPPED).write_text(lines, encoding="utf-8", newline="\n")
        value = {
            "format": FORMAT,
            "space": meta.space.to_json(),
            "space_id": meta.space_id,
            "modality": meta.modality,
            "model": meta.model,
            "media_root": meta.media_root,
            "embeddings": None if meta.embeddings is None else meta.embeddings.to_json(),
            "n": writer.rows,
            "skipped": len(writer.skipped),
            "sha256": {name: sha256_file(aside / name) for name in (POINTS, ITEMS)},
        }
        write_json(aside / META, value)


@dataclass(frozen=True)
class _About:
    """Holds the fields of ``encoded.json`` that are read."""

    space: dict[str, Json]
    space_id: str | None
    modality: str
    model: str | None
    media_root: str | None
    n: int
    sha256: dict[str, str]
    embeddings: dict[str, Json] | None = None


class Encoded:
    """Gives access to an encoded set; the points are memory-mapped and verified at their first use.

    Attributes:
        path: the directory.
        meta: describes the points.
    """

    def __init__(self, path: Path, meta: EncodedMeta, points: np.ndarray, sha256: dict[str, str]) -> None:
        self.path, self.meta, self._points = path, meta, points
        self._files = {name: _checked(path / name, sha256.get(name)) for name in (POINTS, ITEMS)}

    @property
    def points(self) -> np.ndarray:
        """The (n, width) stored points, memory-mapped."""
        self._files[POINTS].check()
        return self._points

    @classmethod
    def open(cls, path: Path | str) -> Encoded:
        """Open an encoded set and check row counts, shapes and the items' checksum.

        Raises:
            LimbeckError: it is not an encoded set, a file is missing or damaged, or shapes do not fit.
        """
        path = Path(path)
        value = read_json(path / META)
        if isinstance(value, dict) and value.get("format", FORMAT) != FORMAT:
            found = str(value["format"])[:40]
            raise LimbeckError(
                f"{path / META}: format is {found!r}, not {FORMAT!r}; encode again", code="E-FILE-VERSION"
            )
        known = {field.name for field in fields(_About)}
        read = (
            {key: item for key, item in value.items() if key in known} if isinstance(value, dict) else value
        )
        about = typed(_About, read, path / META, "encode again")
        space = space_from_json(about.space)
        kept = None if about.embeddings is None else Kept.from_json(about.embeddings)
        meta = EncodedMeta(space, about.space_id, about.modality, about.model, about.media_root, kept)
        points = open_npy(path / POINTS)
        if points.shape != (about.n, space.width) or points.dtype != space.dtype:
            raise LimbeckError(
                f"{path / POINTS}: holds {points.dtype} {points.shape}, "
                f"expected {space.dtype} ({about.n}, {space.width}); encode again",
                code="E-ENCODED-DAMAGED",
            )
        encoded = cls(path, meta, points, about.sha256)
        found = encoded._table().metadata.num_rows
        if found != about.n:
            raise LimbeckError(
                f"{path / ITEMS}: has {found} rows, expected {about.n}; encode again",
                code="E-ENCODED-DAMAGED",
            )
        return encoded

    def __len__(self) -> int:
        return len(self._points)

    def _table(self) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        self._files[ITEMS].check()
        try:
            table = pq.ParquetFile(self.path / ITEMS)
            if "id" not in table.schema_arrow.names:
                raise LimbeckError(
                    f"{self.path / ITEMS}: has no column 'id'; encode again", code="E-ENCODED-DAMAGED"
                )
            return table
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> LimbeckError:
        line = str(error).partition("\n")[0][:120]
        return LimbeckError(
            f"{self.path / ITEMS}: is missing or damaged ({line}); encode again", code="E-ENCODED-DAMAGED"
        )

    @property
    def columns(self) -> list[str]:
        """The names of the items' columns."""
        return list(self._table().schema_arrow.names)

    def items(self) -> pa.Table:
        """Return the whole items table."""
        return pa.concat_tables(table for _, table in self.batches())

    def batches(self, rows: int = 1 << 16) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Yield (points, items) in row order, at most ``rows`` rows per batch."""
        start, batches = 0, self._table().iter_batches(batch_size=rows)
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                batch.validate(full=True)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise self._damaged(error) from None
            table = pa.Table.from_batches([batch])
            yield self.points[start : start + len(table)], table
            start += len(table)

    def check(self) -> None:
        """Verify the whole set: checksums, points of the space, unique ids.

        Raises:
            LimbeckError: one of these checks fails; the error names it.
        """
        for points, _ in self.batches():
            self.meta.space.check(points, what=str(self.path / POINTS))
        check_unique_ids(as_items(self.items()).column("id").to_pylist(), str(self.path))


def _checked(path: Path, sha256: str | None) -> CheckedFile:
    """Map a file of an encoded set with its checksum; its size is not recorded."""
    try:
        return CheckedFile(path, FileEntry(path.stat().st_size, sha256 or ""), "encode again")
    except FileNotFoundError:
        raise LimbeckError(f"{path}: the file is missing; encode again", code="E-ENCODED-DAMAGED") from None


def is_encoded(path: Path) -> bool:
    """Return whether a directory is an encoded set."""
    return (Path(path) / META).is_file()


def read_skipped(path: Path | str) -> list[dict[str, str]]:
    """Return the items that could not be encoded: ``[{"id", "reason"}, ...]``."""
    from limbeck.tables import split_lines

    file = Path(path) / SKIPPED
    return (
        [json.loads(line) for line in split_lines(file.read_text(encoding="utf-8"))] if file.is_file() else []
    )


def check_unique_ids(ids: list[str], where: str) -> None:
    """Check that ids are unique.

    Raises:
        LimbeckError: an id repeats; the error starts with ``where``, the name of their file.
    """
    ordered = np.sort(hash_ids(ids))
    if (ordered[1:] == ordered[:-1]).any() and len(set(ids)) < len(ids):
        seen: set[str] = set()
        double = next(item for item in ids if item in seen or seen.add(item))  # type: ignore[func-returns-value]
        raise LimbeckError(
            f"{where}: id {double!r} appears more than once; ids must be unique", code="E-ID-REPEATED"
        )
