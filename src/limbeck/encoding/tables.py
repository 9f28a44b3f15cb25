"""Reads tables of pictures: CSV, TSV, JSON, JSON lines, a Parquet file, or a folder of Parquet shards."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.encoding.places import Places
from limbeck.encoding.shards import ParquetShard, Shard, TextShard
from limbeck.errors import LimbeckError
from limbeck.tables import ENDINGS

if TYPE_CHECKING:
    from PIL import Image

_IMAGE = ("image", "file_name", "filename", "image_path", "filepath", "path")
_GROUPS = 2  # row groups of Parquet that are in memory at once


def is_table(path: Path) -> bool:
    """Return whether a path is a table that `TableSource` reads."""
    if path.is_dir():
        is_other_format = any((path / name).is_file() for name in ("pairs.json", "encoded.json"))
        return not is_other_format and next(path.glob("*.parquet"), None) is not None
    return path.suffix.lower() in ENDINGS


class TableSource:
    """Reads a table with one picture per row: a path relative to the table's folder, or bytes (Parquet).

    Parquet is read one row group at a time; text tables are read whole. The id is the column ``id``, else the
    picture's path, else shard and row number; ids and paths are text. The other columns are returned with a
    hit. For a Parquet row ``{bytes: null, path: …}``, the path is opened.
    """

    def __init__(
        self,
        path: Path | str,
        image_column: str | None = None,
        *,
        types: Mapping[str, str] | None = None,
        multiline: bool = False,
    ) -> None:
        """Open a table.

        Args:
            path: the file, or a folder of Parquet files.
            image_column: the column of pictures; by default a known name such as ``image`` is used.
            types: types of columns of a text table (`limbeck.tables.TYPES`); the others are guessed.
            multiline: allow line ends inside quoted fields of CSV.

        Raises:
            LimbeckError: there is no such file, it is unreadable, has no rows, or has no column of pictures.
        """
        self.root = Path(path)
        if not self.root.exists():
            raise LimbeckError(f"{self.root}: there is no such file or directory", code="E-PATH-MISSING")
        files = sorted(self.root.glob("*.parquet")) if self.root.is_dir() else [self.root]
        self._shards: list[Shard]
        if files[0].suffix.lower() == ".parquet":
            if types or multiline:
                raise LimbeckError(
                    f"{self.root}: Parquet files define their types; leave out --types, --multiline",
                    code="E-OPTION-UNUSED",
                )
            self._shards = list(map(ParquetShard, files))
        else:
            text = ("id", *_IMAGE, *([image_column] if image_column else []))
            self._shards = [TextShard(files[0], text, types, multiline)]
        self._starts = [0, *itertools.accumulate(shard.rows for shard in self._shards)]
        if not len(self):
            raise LimbeckError(f"{self.root}: has no rows; give at least one", code="E-FILE-EMPTY")
        schema = self._shards[0].schema
        for shard in self._shards:
            if not shard.schema.equals(schema):
                raise LimbeckError(
                    f"{shard.path}: has other columns than {files[0].name}; give all shards the same ones",
                    code="E-TABLE-COLUMN",
                )
        self._image = _image_column(self.root, schema, image_column)
        self._form = _form(self.root, self._image, schema.field(self._image).type)
        if self._form == "either" and not any(s.may_lack(f"{self._image}.bytes") for s in self._shards):
            self._form = "bytes"
        self._id_column = "id" if "id" in schema.names else self._image if self._form == "path" else None
        folder = self.root if self.root.is_dir() else self.root.parent
        self._folder = folder.resolve()
        self.media_root: str | None = None if self._form == "bytes" else str(self._folder)
        self._places = Places(self._folder, self._paths)
        self._lock, self._held = threading.Lock(), OrderedDict[tuple[int, int], pa.Table]()

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def identity(self) -> list[list[object]]:
        """What identifies this source: names and rows of its shards, and the column of pictures."""
        return [[self._image, 0], *([shard.path.name, shard.rows] for shard in self._shards)]

    def _slice(self, row: int) -> pa.Table:
        """Return one row as a table, from a cached row group."""
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
        """Open the picture of a row, RGB and upright."""
        import io

        from limbeck.pictures import decode_picture, open_picture

        value = self._slice(row).column(self._image)[0].as_py()
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return decode_picture(io.BytesIO(content), f"{self.root}: row {row}")
        path = path if content is None else content
        if not path:
            number = bisect.bisect_right(self._starts, row) - 1
            raise LimbeckError(
                f"{self._shards[number].where(row - self._starts[number])} has no picture",
                code="E-PICTURE-MISSING",
            )
        return open_picture(self._folder / self._places.find(path))

    def items(self, rows: Sequence[int]) -> pa.Table:
        """Return ``id``, ``path`` (if pictures are files) and the other columns of some rows."""
        kept = [name for name in self._shards[0].schema.names if name != self._image or self._form != "bytes"]
        table = pa.concat_tables([self._slice(row).select(kept) for row in rows]).combine_chunks()
        columns = {"id": pa.array(self._ids(table, rows), pa.string())}
        if self._form == "path":
            columns["path"] = self._found(table.column(self._image))
        elif self._form == "either":
            value = table.column(self._image)
            path, content = (pc.struct_field(value, name) for name in ("path", "bytes"))
            paths = pc.if_else(pc.is_null(content), path, pa.scalar(None, pa.string()))
            columns["path"] = self._found(paths)
        for name in table.column_names:
            if name not in ("id", self._image):
                columns["given_path" if name == "path" else name] = table.column(name)
        return pa.table(columns)

    def _paths(self) -> Iterator[str]:
        """Yield every path in the column of pictures."""
        for shard in self._shards:
            for group in range(len(shard.starts) - 1):
                for value in shard.read(group, [self._image]).column(self._image).to_pylist():
                    path = value.get("path") if isinstance(value, dict) else value
                    if isinstance(path, str):
                        yield path

    def _found(self, paths: pa.Array) -> pa.Array:
        return pa.array(
            [None if path is None else self._places.find(path) for path in paths.to_pylist()], pa.string()
        )

    def _ids(self, table: pa.Table, rows: Sequence[int]) -> list[str]:
        given: list[object] = [None] * len(rows)
        if self._id_column is not None:
            given = table.column(self._id_column).to_pylist()
        return [
            self._number(row) if value is None else str(value) for row, value in zip(rows, given, strict=True)
        ]

    def _number(self, row: int) -> str:
        number = bisect.bisect_right(self._starts, row) - 1
        return f"{self._shards[number].path.stem}/{row - self._starts[number]}"

    def ids(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Return the ids of some rows; all by default."""
        if self._id_column is None:
            return [self._number(int(row)) for row in (range(len(self)) if rows is None else rows)]
        found: list[str] = []
        for start, shard in zip(self._starts, self._shards, strict=False):
            for group, first in enumerate(shard.starts[:-1]):
                table = shard.read(group, [self._id_column])
                found += self._ids(table, range(start + first, start + first + len(table)))
        return found if rows is None else [found[row] for row in rows]

    def features(self, name: str, rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """Raise an error, because a table of pictures has no features."""
        raise LimbeckError(
            f"{self.root}: the model reads features {name!r}, not pixels; give a pairs directory",
            code="E-MODEL-INPUT",
        )


def _image_column(root: Path, schema: pa.Schema, wanted: str | None) -> str:
    names = schema.names
    found = next((name for name in ([wanted] if wanted else _IMAGE) if name in names), None)
    if found is None:
        what = f"no column {wanted!r}" if wanted else "no column of pictures"
        raise LimbeckError(
            f"{root}: {what}; columns are {', '.join(names)}; choose one with --image-column",
            code="E-TABLE-COLUMN",
        )
    return found


def _form(root: Path, name: str, kind: pa.DataType) -> str:
    """Return whether the column holds pictures as "path", "bytes", or "either" per row."""
    if pa.types.is_string(kind):
        return "path"
    if pa.types.is_binary(kind):
        return "bytes"
    if pa.types.is_struct(kind):
        fields = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
        if pa.types.is_binary(fields.get("bytes", pa.null())):
            return "either" if pa.types.is_string(fields.get("path", pa.null())) else "bytes"
    raise LimbeckError(
        f"{root}: column {name!r} holds {kind}, neither paths nor pictures", code="E-TABLE-TYPE"
    )
