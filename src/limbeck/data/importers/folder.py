"""A folder (or zip) of pictures, with a CSV, TSV or JSONL table of captions, tags and labels, or without."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.data.importers.base import (
    Importer,
    ImportOptions,
    ImportReport,
    Source,
    attach_features,
    note_passed,
)
from limbeck.data.importers.locate import find_pictures, note_unused, some, unique_ids
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.names import clean_path, show
from limbeck.pictures import normalize_text

# Looked for in this order when no option names the column; other tools' usual names come after ours.
_GUESSES = {
    "id": ("id",),
    "image": ("image", "file_name", "filename", "image_path", "filepath", "path"),
    "caption": ("caption", "captions", "text", "sentence", "comment"),
    "tags": ("tags",),
    "labels": ("labels", "label", "categories"),
    "split": ("split",),
}
_TABLES = ("captions.csv", "captions.jsonl", "captions.tsv", "captions.txt", "metadata.csv", "metadata.jsonl")
_BLANKS = " \t\r\n"
Record = dict[str, Any]


@dataclass
class _Item:
    """All that the table's rows say of one picture; ``missing`` is the name of one that is not there."""

    id: str | None
    image: str | None
    split: str | None
    captions: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    missing: str | None = None


def import_folder(src: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Import pictures with a table; several rows of the same picture become its several captions.

    Pictures are found by the rules of `limbeck.names`; a table without a column of pictures finds them by its
    ids, endings left out. Ids come from the id column, else from the picture's path without suffix.

    Raises:
        LimbeckError: no pictures and no table, a column that is not there, missing pictures, names that fit
            several, a picture in two splits, no rows.
    """
    source = Source(src)
    report = ImportReport(options.name or src.resolve().stem)
    table, records = _read_records(source, options)
    if table is None:
        given = sorted(name for name in options.given() if name.endswith("_column"))
        if given:
            raise LimbeckError(f"{src}: --{given[0].replace('_', '-')} needs a table; give one with --table")
        items = [_Item(None, name, None) for name in source.pictures]
        report.notes.append("no table found: pictures only")
    else:
        parts = _columns(table, records, options)
        items = _collect(records, parts, options.separator or ",")
        _find_pictures(source, items, table, parts, options, report)
        items = _merge(items, table, report)
    if not items:
        what = f"the table {table} has no rows" if table else "no pictures and no table"
        raise LimbeckError(f"{src}: nothing to import: {what}")
    columns: dict[str, list[Any]] = {
        "id": _ids(items),
        "image": [item.image for item in items],
        "captions": [item.captions for item in items],
        "tags": [item.tags for item in items],
        "labels": [item.labels for item in items],
    }
    if any(item.split for item in items):
        columns["split"] = [item.split for item in items]
    features = attach_features(columns, options.features, report, source.path)
    report.rows = len(items)
    report.counts |= {
        "with picture": sum(item.image is not None for item in items),
        "captions": sum(len(item.captions) for item in items),
        "tags": sum(len(item.tags) for item in items),
        "labels": sum(len(item.labels) for item in items),
    }
    note_passed(source, report, foreign=True, used=table)
    meta = {
        "name": report.name,
        "label_names": sorted({label for item in items for label in item.labels}),
        "media": source.media if any(item.image for item in items) else None,
        "features": features,
    }
    Pairs.write(out, columns, meta, replace=options.replace)
    return report


def _read_records(source: Source, options: ImportOptions) -> tuple[str | None, list[Record]]:
    """The table's name and rows; (None, []) when there is no table."""
    if options.table is not None:
        beside = options.table if options.table.is_file() else source.path / options.table
        if source.is_zip and str(options.table) in source.names:
            return str(options.table), _parse(str(options.table), source.read_text(str(options.table)))
        if not beside.is_file():
            raise LimbeckError(f"{options.table}: no such table, neither here nor in {source.path}")
        return str(beside), _parse(str(beside), Source(beside.parent).read_text(beside.name))
    tables = [name for name in source.names if Path(name).suffix.lower() in (".csv", ".tsv", ".jsonl")]
    top = min((name.count("/") for name in tables), default=0)
    tables = [name for name in tables if name.count("/") == top]
    usual = [name for usual in _TABLES if (name := source.find(usual)) is not None]
    if not usual and len(tables) > 1:
        raise LimbeckError(f"{source.path}: several tables ({', '.join(tables[:4])}); choose by --table")
    chosen = next(iter(usual or tables), None)
    return (None, []) if chosen is None else (chosen, _parse(chosen, source.read_text(chosen)))


def _parse(name: str, text: str) -> list[Record]:
    """Rows of a JSONL, TSV or CSV text with a header line."""
    if Path(name).suffix.lower() == ".jsonl":
        records = []
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise LimbeckError(f"{name}: line {number} is not JSON ({error.msg})") from None
            if not isinstance(record, dict):
                raise LimbeckError(f"{name}: line {number} is not an object with named fields")
            records.append(record)
        return records
    header = text.partition("\n")[0]
    counts = {delimiter: header.count(delimiter) for delimiter in ("\t", ",", ";")}
    delimiter = max(counts, key=lambda key: counts[key]) if any(counts.values()) else ","
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise LimbeckError(f"{name}: not a readable table ({error})") from None
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise LimbeckError(
                f"{name}: row {number} has more fields than the header; quote fields that hold {delimiter!r}"
            )
    return rows


def _columns(table: str, records: list[Record], options: ImportOptions) -> dict[str, str | None]:
    """Which column plays which part; a column asked for and not there is an error that lists those there."""
    there = list(dict.fromkeys(key for record in records for key in record))
    parts: dict[str, str | None] = {}
    for part, guesses in _GUESSES.items():
        asked = getattr(options, f"{part}_column")
        if asked is not None and asked not in there:
            raise LimbeckError(f"{table}: no {part} column {asked!r}; there are {', '.join(there) or 'none'}")
        parts[part] = asked or next((guess for guess in guesses if guess in there), None)
    if records and not (parts["caption"] or parts["tags"] or parts["labels"]):
        raise LimbeckError(
            f"{table}: caption column not found; there are {', '.join(there)}: name one with --caption-column"
        )
    if records and not (parts["image"] or parts["id"]):
        raise LimbeckError(
            f"{table}: image column not found; there are {', '.join(there)}: name one with --image-column"
        )
    return parts


def _collect(records: list[Record], parts: dict[str, str | None], separator: str) -> list[_Item]:
    """One item per row that names a picture or an id."""

    def cell(record: Record, part: str) -> Any:
        name = parts[part]
        return None if name is None else record.get(name)

    items = []
    for record in records:
        image, own_id, split = (_name(cell(record, part)) for part in ("image", "id", "split"))
        if image is None and own_id is None:
            continue
        item = _Item(own_id and own_id.strip(_BLANKS), image, split and normalize_text(split))
        item.captions = _many(cell(record, "caption"), None)
        item.tags, item.labels = (_many(cell(record, part), separator) for part in ("tags", "labels"))
        items.append(item)
    return items


def _name(value: Any) -> str | None:
    """A name as the cell has it: blanks and Unicode form belong to it, until the file is found."""
    text = "" if value is None else str(value)
    return text if text.strip() else None


def _many(value: Any, separator: str | None) -> list[str]:
    """Texts of a cell: a JSON list as it is, a string split at the separator where there is one."""
    if value is None:
        return []
    if not isinstance(value, list):
        value = [value] if separator is None else str(value).split(separator)
    return [text for text in (normalize_text(str(part)) for part in value) if text]


def _find_pictures(
    source: Source,
    items: list[_Item],
    table: str,
    parts: dict[str, str | None],
    options: ImportOptions,
    report: ImportReport,
) -> None:
    """Set each item's picture to its name in the source; complain of, or count, those not there."""
    by_id = parts["image"] is None
    named = [item for item in items if (item.id if by_id else item.image) is not None]
    names = [str(item.id if by_id else item.image) for item in named]
    place = table if table in source.names else ""
    found = find_pictures(
        source, names, report, list_name=place, endings=by_id, keep_missing=options.keep_missing
    )
    for item, name, image in zip(named, names, found.found, strict=True):
        item.image, item.missing = image, None if image is not None or by_id else clean_path(name)
    lost = list(dict.fromkeys(n for n, image in zip(names, found.found, strict=True) if image is None))
    count = len(set(names))
    if by_id and len(lost) == count and options.features:
        report.notes.append("no pictures: features only")
    elif lost and not options.keep_missing:
        cure = (
            f"ids of column {parts['id']!r} were looked for as file names: name a column by --image-column, "
            if by_id
            else "restore them "
        )
        raise LimbeckError(
            f"{source.path}: {len(lost):,} of {count:,} pictures are missing (first: {found.why(lost[0])}); "
            f"{cure}or use --keep-missing"
        )
    elif lost:
        report.notes.append(f"{len(lost):,} rows kept without picture: {some(lost)}")
    note_unused(source, found.found, report)


def _merge(items: list[_Item], table: str, report: ImportReport) -> list[_Item]:
    """One item per picture, or per id where there is no picture, in the order of the table.

    Raises:
        LimbeckError: a picture in two splits.
    """
    merged: dict[tuple[str, str], _Item] = {}
    renamed: list[str] = []
    for item in items:
        place = item.image if item.image is not None else item.missing
        key = ("id" if place is None else "picture", str(item.id if place is None else place))
        first = merged.setdefault(key, item)
        if first is item:
            continue
        if item.split and first.split and item.split != first.split:
            raise LimbeckError(
                f"{table}: {show(key[1])} is in the splits {first.split} and {item.split}; leave it in one"
            )
        first.split = first.split or item.split
        if item.id != first.id:
            renamed.append(key[1])
        for mine, theirs in ((first.captions, item.captions), (first.tags, item.tags)):
            mine.extend(text for text in theirs if text not in mine)
        first.labels.extend(text for text in item.labels if text not in first.labels)
    if renamed:
        names = list(dict.fromkeys(renamed))
        report.notes.append(f"{len(names):,} pictures have several ids, the first one stands: {some(names)}")
    for item in merged.values():
        for texts in (item.captions, item.tags, item.labels):
            texts[:] = dict.fromkeys(texts)
    return list(merged.values())


def _ids(items: list[_Item]) -> list[str]:
    """The id given, else the picture's path without suffix, with suffix where two would collide."""
    own = unique_ids([item.image or item.missing or "" for item in items], folders=True)
    return [item.id or name for item, name in zip(items, own, strict=True)]


FOLDER = Importer(
    "folder",
    "pictures in a folder or zip, with a CSV, TSV or JSONL table (image, caption, tags, …) or none",
    frozenset({"table", "separator", *(f"{part}_column" for part in _GUESSES)}),
    import_folder,
)
