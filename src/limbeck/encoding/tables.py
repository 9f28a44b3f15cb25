"""Tables of pictures: CSV, TSV, JSON lines, a Parquet file, or a folder of Parquet shards."""

from __future__ import annotations

import bisect
import itertools
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from limbeck.encoding.decoding import SourceDamaged
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from PIL import Image

_IMAGE = ("image", "file_name", "filename", "image_path", "filepath", "path")
_TEXT = {".csv": ",", ".tsv": "\t"}
_GROUPS = 2  # row groups of Parquet held at once


def is_table(path: Path) -> bool:
    """Whether a path is a table that `TableSource` reads."""
    if path.is_dir():
        own = any((path / name).is_file() for name in ("pairs.json", "encoded.json"))
        return not own and next(path.glob("*.parquet"), None) is not None
    return path.suffix.lower() in (*_TEXT, ".jsonl", ".parquet")


class TableSource:
    """Rows of a table, each with a picture: a path relative to the table's folder, or its bytes (Parquet).

    Parquet is read by row group as rows are asked for; text tables are parsed whole. The id is the column
    ``id``, else the picture's path, else shard and row. The other columns come back with a hit.
    """

    def __init__(self, path: Path | str, image_column: str | None = None) -> None:
        """Open a table.

        Raises:
            LimbeckError: no such file, not readable, no rows, no column of pictures (those there are named).
        """
        self.root = Path(path)
        if not self.root.exists():
            raise LimbeckError(f"{self.root}: no such file or directory")
        shards = sorted(self.root.glob("*.parquet")) if self.root.is_dir() else [self.root]
        is_text = shards[0].suffix.lower() != ".parquet"
        self._shards: list[_Shard] = (
            [_Parsed(shards[0], image_column)] if is_text else list(map(_Parquet, shards))
        )
        self._starts = [0, *itertools.accumulate(shard.rows for shard in self._shards)]
        if not len(self):
            raise LimbeckError(f"{self.root}: no rows in it; give at least one")
        schema = self._shards[0].schema
        for shard in self._shards:
            if not shard.schema.equals(schema):
                raise LimbeckError(f"{shard.path}: has other columns than {shards[0].name}; make them alike")
        self._image = _image_column(self.root, schema, image_column)
        kind = schema.field(self._image).type
        self._embedded = (
            pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        )
        if not self._embedded and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise LimbeckError(
                f"{self.root}: column {self._image!r} holds {kind}, neither paths nor pictures"
            )
        self._id_column = "id" if "id" in schema.names else None if self._embedded else self._image
        folder = self.root if self.root.is_dir() else self.root.parent
        self.media_root: str | None = None if self._embedded else str(folder.resolve())
        self._lock, self._held = threading.Lock(), OrderedDict[tuple[int, int], pa.Table]()

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def identity(self) -> list[list[Any]]:
        """What tells this source from another: names and rows of its shards, and the column of pictures."""
        return [[self._image, 0], *([shard.path.name, shard.rows] for shard in self._shards)]

    def _slice(self, row: int) -> pa.Table:
        """One row as a table, from a piece that is kept."""
        number = bisect.bisect_right(self._starts, row) - 1
        shard, local = self._shards[number], row - self._starts[number]
        group = bisect.bisect_right(shard.starts, local) - 1
        with self._lock:
            if (number, group) not in self._held:
                self._held[number, group] = shard.read(group)
                while len(self._held) > _GROUPS:
                    self._held.popitem(last=False)
            self._held.move_to_end((number, group))
            return self._held[number, group].slice(local - shard.starts[group], 1)

    def open_image(self, row: int) -> Image.Image:
        """The picture of a row, RGB and upright."""
        import io

        from limbeck.pictures import decode_picture, open_picture

        value = self._slice(row).column(self._image)[0].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise LimbeckError(f"{self.root}: row {row} has no picture")
        if self._embedded:
            return decode_picture(io.BytesIO(content), f"{self.root}: row {row}")
        return open_picture(Path(self.media_root or ".") / content)

    def items(self, rows: Sequence[int]) -> pa.Table:
        """``id``, ``path`` where pictures are files, and the other columns of some rows."""
        kept = [name for name in self._shards[0].schema.names if not (self._embedded and name == self._image)]
        table = pa.concat_tables([self._slice(row).select(kept) for row in rows]).combine_chunks()
        columns = {"id": pa.array(self._ids(table, rows), pa.string())}
        if not self._embedded:
            columns["path"] = table.column(self._image).cast(pa.string())
        for name in table.column_names:
            if name not in ("id", self._image):
                columns["given_path" if name == "path" else name] = table.column(name)
        return pa.table(columns)

    def _ids(self, table: pa.Table, rows: Sequence[int]) -> list[str]:
        given: list[Any] = [None] * len(rows)
        if self._id_column is not None:
            given = table.column(self._id_column).to_pylist()
        return [
            self._number(row) if value is None else str(value) for row, value in zip(rows, given, strict=True)
        ]

    def _number(self, row: int) -> str:
        number = bisect.bisect_right(self._starts, row) - 1
        return f"{self._shards[number].path.stem}/{row - self._starts[number]}"

    def ids(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Ids of some rows; all by default."""
        if self._id_column is None:
            return [self._number(int(row)) for row in (range(len(self)) if rows is None else rows)]
        found: list[str] = []
        for start, shard in zip(self._starts, self._shards, strict=False):
            for group, first in enumerate(shard.starts[:-1]):
                table = shard.read(group, [self._id_column])
                found += self._ids(table, range(start + first, start + first + len(table)))
        return found if rows is None else [found[row] for row in rows]

    def features(self, name: str, rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """Refused: a table of pictures has no features."""
        raise LimbeckError(
            f"{self.root}: the model reads features {name!r}, not pixels; give a pairs directory"
        )


class _Shard(ABC):
    """One file, read in groups of rows."""

    path: Path
    schema: pa.Schema
    starts: list[int]

    @property
    def rows(self) -> int:
        return self.starts[-1]

    @abstractmethod
    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of a group, of some columns or of all."""


class _Parquet(_Shard):
    def __init__(self, path: Path) -> None:
        self.path = path
        about = self._open().metadata
        self.schema = self._open().schema_arrow.remove_metadata()
        sizes = (about.row_group(group).num_rows for group in range(about.num_row_groups))
        self.starts = [0, *itertools.accumulate(sizes)]

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise SourceDamaged(
                f"{self.path}: not readable as Parquet ({_line(error)}); restore it"
            ) from None

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        try:
            return self._open().read_row_group(group, columns=columns)
        except (pa.ArrowException, OSError) as error:
            where = f"rows {self.starts[group]} to {self.starts[group + 1] - 1}"
            raise SourceDamaged(f"{self.path}: damaged at {where} ({_line(error)}); restore it") from None


class _Parsed(_Shard):
    """A text table, whole in memory; ids and paths are text, whatever they look like."""

    def __init__(self, path: Path, image_column: str | None) -> None:
        self.path = path
        text = dict.fromkeys(("id", *_IMAGE, *([image_column] if image_column else [])), pa.string())
        try:
            if path.suffix.lower() == ".jsonl":
                self._table = pyarrow.json.read_json(path)
            else:
                parse = pyarrow.csv.ParseOptions(
                    delimiter=_TEXT[path.suffix.lower()], newlines_in_values=True
                )
                convert = pyarrow.csv.ConvertOptions(column_types=text, strings_can_be_null=True)
                self._table = pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)
        except (pa.ArrowException, OSError) as error:
            raise LimbeckError(f"{path}: not a readable table ({_line(error)}); mend or restore it") from None
        self.schema, self.starts = self._table.schema, [0, len(self._table)]

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        return self._table if columns is None else self._table.select(columns)


def _image_column(root: Path, schema: pa.Schema, asked: str | None) -> str:
    there = schema.names
    found = next((name for name in ([asked] if asked else _IMAGE) if name in there), None)
    if found is None:
        what = f"no column {asked!r}" if asked else "no column of pictures"
        raise LimbeckError(f"{root}: {what}; there are {', '.join(there)}: name one with --image-column")
    return found


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
