"""The table of a folder of pictures: how it is found, the role of each column, the content of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from limbeck.data.importers.base import ImportOptions, ImportReport, Source
from limbeck.data.schema import FURTHER_TYPES, RESERVED
from limbeck.errors import LimbeckError
from limbeck.pictures import is_picture_name, normalize_text
from limbeck.tables import Table, cell_lists, parse_table, read_table
from limbeck.tables.guess import parse_types

# Tried in this order when no option names the column; common names of other tools come after ours.
GUESSES = {
    "id": ("id",),
    "image": ("image", "file_name", "filename", "image_path", "filepath", "path"),
    "caption": ("caption", "captions", "text", "sentence", "comment"),
    "tags": ("tags",),
    "labels": ("labels", "label", "categories"),
    "split": ("split",),
    "path": ("path",),
}
_STEMS = ("captions", "metadata")
_ENDINGS = (".csv", ".jsonl", ".tsv")
_USUAL = ("captions.csv", "captions.jsonl", "captions.tsv", "captions.txt",
          *(f"metadata{ending}" for ending in (*_ENDINGS, ".parquet")))  # fmt: skip
_BLANKS = " \t\r\n"
_PATH_MARKS = (">", "/")  # between the classes of a path, the first that a column has
Lists = list[list[str]]


@dataclass(frozen=True)
class FolderOptions(ImportOptions):
    """How to read the table of a folder; ``PART_column`` names the column of a part of `GUESSES`.

    Args:
        table: the table, else one of the usual names in the source.
        separator: the separator of tags or labels in one cell, else a comma.
        types: types of further columns, ``NAME=TYPE, …``.
        multiline: quoted CSV fields may contain line breaks.
        folder_labels: use each picture's folder as its label; only without a table.
    """

    table: Path | None = None
    id_column: str | None = None
    image_column: str | None = None
    caption_column: str | None = None
    tags_column: str | None = None
    labels_column: str | None = None
    split_column: str | None = None
    path_column: str | None = None
    separator: str | None = None
    types: str | None = None
    multiline: bool = False
    folder_labels: bool = False

    def columns(self) -> dict[str, str]:
        """Return the column names that are set, by part."""
        return {part: name for part in GUESSES if (name := getattr(self, f"{part}_column")) is not None}

    def needs_table(self) -> str | None:
        """Return the command-line form of an option that is set and applies only to a table."""
        flags = [*(f"{part}-column" for part in self.columns())]
        flags += [name for name in ("separator", "types", "multiline") if getattr(self, name)]
        return f"--{flags[0]}" if flags else None


@dataclass
class Rows:
    """The rows, column by column; all of one length. Equal cells may share a list: never change one.

    ``missing`` is the name of a picture that does not exist; ``further`` has the columns without a role.
    """

    ids: list[str | None]
    images: list[str | None]
    splits: list[str | None]
    captions: Lists
    tags: Lists
    labels: Lists
    paths: Lists
    further: pa.Table
    missing: list[str | None] = field(default_factory=list)

    def take(self, rows: Sequence[int]) -> Rows:
        """Return the rows of these numbers, in their order."""
        columns = {
            name: [values[row] for row in rows] for name, values in vars(self).items() if name != "further"
        }
        further = self.further.take(pa.array(rows, pa.int64())) if self.further.num_columns else self.further
        return Rows(**columns, further=further)


def bare_rows(pictures: Sequence[str]) -> Rows:
    """Return rows of pictures without any text."""
    count = len(pictures)
    none: list[str | None] = [None] * count
    empty: Lists = [[]] * count
    further = pa.table({})
    return Rows(none, [*pictures], [*none], empty, [*empty], [*empty], [*empty], further, missing=[*none])


def find_table(source: Source, options: FolderOptions) -> Table | None:
    """Return the table that ``options.table`` names, else the one in the source; None if there is none.

    Raises:
        LimbeckError: there is no such table, there are several, or it cannot be read.
    """
    text = {name for names in GUESSES.values() for name in names}
    text |= set(options.columns().values())
    how: dict[str, Any] = {
        "text": text, "types": parse_types(options.types), "multiline": options.multiline,
    }  # fmt: skip
    if options.table is not None:
        inside = options.table.as_posix()
        if not options.table.is_file() and inside in source.names and source.is_zip:
            return parse_table(source.read_bytes(inside), inside, **how)
        file = options.table if options.table.is_file() else source.path / options.table
        if not file.is_file():
            raise LimbeckError(
                f"{options.table}: there is no such table, here or in {source.path}; check --table",
                code="E-PATH-MISSING",
            )
        return read_table(file, **how)
    tables = [name for name in source.names if Path(name).suffix.lower() in _ENDINGS]
    top = min((name.count("/") for name in tables), default=0)
    tables = [name for name in tables if name.count("/") == top]
    usual = [name for usual in _USUAL if (name := source.find(usual)) is not None]
    if not usual and len(tables) > 1:
        raise LimbeckError(
            f"{source.path}: there are several tables ({', '.join(tables[:4])}); choose one with --table",
            code="E-IMPORT-CHOICE",
        )
    chosen = next(iter(usual or tables), None)
    if chosen is None:
        return None
    return parse_table(source.read_bytes(chosen), chosen, **how)


def table_rows(
    table: Table, options: FolderOptions, report: ImportReport
) -> tuple[Rows, dict[str, str | None]]:
    """Return the rows of a table that name a picture or an id, and the column of each role.

    Raises:
        LimbeckError: a column is missing, or there is none of pictures or texts; it names the existing ones.
    """
    parts = _parts(table, options)
    report.notes += table.notes
    columns = table.columns
    nothing = pa.chunked_array([pa.nulls(len(table), pa.string())])

    def column(part: str) -> pa.ChunkedArray:
        name = parts[part]
        return nothing if name is None else columns.column(name)

    def lists(part: str, separator: str | None, split: bool = True) -> Lists:
        if parts[part] is None:
            return [[]] * len(table)
        where = f"{table.name}: column {parts[part]!r}"
        cells = cell_lists(
            column(part),
            where,
            separator=separator,
            split=split,
            clean=normalize_text,
            repeats=part == "path",
        )
        report.notes.extend(cells.notes)
        return cells.rows

    splits = _normal(column("split"))
    ids, images = (_plain(table, parts[part], column(part)).to_pylist() for part in ("id", "image"))
    # In names of pictures, blanks and the Unicode form belong to the name until its file is found.
    rows = Rows(
        ids=[text.strip(_BLANKS) or None if text else None for text in ids],
        images=[text if text and text.strip() else None for text in images],
        splits=splits,
        captions=lists("caption", None, False),
        tags=lists("tags", options.separator),
        labels=lists("labels", options.separator),
        paths=_class_paths(column("path"), lists, parts["path"], report),
        further=_further(table, parts, report),
        missing=[None] * len(table),
    )
    named = [row for row in range(len(table)) if rows.images[row] is not None or rows.ids[row] is not None]
    if len(named) < len(table):
        first = next((at for at, row in enumerate(named) if at != row), len(named))
        without = f"{len(table) - len(named):,} rows name no picture and no id and were skipped"
        report.notes.append(f"{without} (first: {table.where(first)})")
        rows = rows.take(named)
    return rows, parts


def _parts(table: Table, options: FolderOptions) -> dict[str, str | None]:
    """Choose the column of each role; a requested column that is missing is an error."""
    there = table.names
    parts: dict[str, str | None] = {}
    for part, guesses in GUESSES.items():
        column = options.columns().get(part)
        if column is not None and column not in there:
            raise LimbeckError(
                f"{table.name}: there is no {part} column {column!r}; there are {', '.join(there)}",
                code="E-TABLE-COLUMN",
            )
        parts[part] = column or next((guess for guess in guesses if guess in there), None)
    taken = options.columns().values()
    if options.image_column is None and (parts["image"] in taken or _is_class_path(table, parts["image"])):
        parts["image"] = None
    if options.path_column is None and (parts["path"] in taken or not _is_class_path(table, parts["path"])):
        parts["path"] = None
    if len(table) and not (parts["caption"] or parts["tags"] or parts["labels"] or parts["path"]):
        raise LimbeckError(
            f"{table.name}: caption column not found; there are {', '.join(there)}: "
            "name one with --caption-column",
            code="E-TABLE-COLUMN",
        )
    if len(table) and not (parts["image"] or parts["id"]):
        raise LimbeckError(
            f"{table.name}: image column not found; there are {', '.join(there)}: "
            "name one with --image-column",
            code="E-TABLE-COLUMN",
        )
    return parts


def _is_class_path(table: Table, name: str | None) -> bool:
    """Return whether a column ``path`` has paths of classes, not of files: none has a picture's suffix."""
    if name != "path":
        return False
    column = table.columns.column(name)
    if not pa.types.is_string(column.type):
        return True
    return not any(is_picture_name(cell.strip()) for cell in pc.unique(column.drop_null()).to_pylist())


def _plain(table: Table, name: str | None, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of names as text; pictures embedded in Parquet become their paths."""
    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
        content = pc.struct_field(column, "bytes") if kind.get_field_index("bytes") >= 0 else None
        if content is None or content.null_count == len(content):
            return pc.struct_field(column, "path")
    if pa.types.is_struct(kind) or pa.types.is_binary(kind):
        fix = "encode the table itself (limbeck encode), or store them as files"
        raise LimbeckError(
            f"{table.name}: column {name!r} contains pictures, not their names; {fix}", code="E-TABLE-TYPE"
        )
    if not pa.types.is_string(kind):
        raise LimbeckError(
            f"{table.name}: column {name!r} contains {kind}, not names; use another column",
            code="E-TABLE-TYPE",
        )
    return column


def _normal(column: pa.ChunkedArray) -> list[str | None]:
    coded = pc.dictionary_encode(column.cast(pa.string())).combine_chunks()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    words = [normalize_text(word) or None for word in coded.dictionary.to_pylist()]
    return [None if at is None else words[at] for at in coded.indices.to_pylist()]


def _class_paths(
    column: pa.ChunkedArray, lists: Callable[..., Lists], name: str | None, report: ImportReport
) -> Lists:
    """Return class paths, root first: lists, or texts split at the first of `_PATH_MARKS` in the column."""
    if name is None or not pa.types.is_string(column.type):
        return list(lists("path", None))
    marks = (mark for mark in _PATH_MARKS if pc.any(pc.match_substring(column, mark)).as_py())
    mark = next(marks, None)
    if mark is not None:
        report.notes.append(f"class paths of column {name!r} are split at {mark!r}")
    return list(lists("path", mark or ">"))


def _further(table: Table, parts: dict[str, str | None], report: ImportReport) -> pa.Table:
    """Return the columns without a role, which a hit returns and a filter may use."""
    kept: dict[str, pa.ChunkedArray] = {}
    left_out, renamed = [], []
    for name, column in zip(table.names, table.columns.columns, strict=True):
        if name in parts.values():
            continue
        inner = column.type.value_type if pa.types.is_list(column.type) else column.type
        if not any(check(inner) for check in FURTHER_TYPES):
            left_out.append(f"{name} ({column.type})")
            continue
        free = name
        while free in RESERVED or (free != name and free in table.names):
            free = f"given_{free}"
        if free != name:
            renamed.append(f"{name} as {free}")
        kept[free] = column.cast(pa.string()) if pa.types.is_null(column.type) else column
    if kept:
        report.notes.append(f"further columns kept: {', '.join(kept)}")
    if renamed:
        report.notes.append(f"renamed, because pairs have columns of these names: {', '.join(renamed)}")
    if left_out:
        report.notes.append(f"columns skipped, because no filter reads their type: {', '.join(left_out)}")
    return pa.table(kept)
