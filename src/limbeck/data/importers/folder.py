"""A folder (or zip) of pictures, with a CSV, TSV or JSONL table of captions, tags and labels, or without."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from limbeck.data.importers.base import (
    Importer,
    ImportOptions,
    ImportReport,
    Source,
    attach_features,
    note_passed,
)
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
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
Record = dict[str, Any]


@dataclass
class _Item:
    """Everything that the table's rows say of one picture."""

    id: str | None
    image: str | None
    split: str | None
    captions: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def import_folder(src: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Import pictures with a table; several rows of the same picture become its several captions.

    Pictures are found by their path below ``src``, else by a file name that occurs only once. Ids come from
    the id column, else from the picture's path without suffix.

    Raises:
        LimbeckError: no pictures and no table, a column that is not there, missing pictures, no rows.
    """
    source = Source(src)
    report = ImportReport(options.name or src.resolve().stem)
    pictures = source.pictures
    table, records = _read_records(source, options)
    if table is None:
        given = sorted(name for name in options.given() if name.endswith("_column"))
        if given:
            raise LimbeckError(f"{src}: --{given[0].replace('_', '-')} needs a table; give one with --table")
        items = [_Item(None, name, None) for name in pictures]
        report.notes.append("no table found: pictures only")
    else:
        items = _collect(records, _columns(table, records, options), options.separator or ",")
        _find_pictures(source, items, pictures, options.keep_missing, report)
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
    features = attach_features(columns, options.features, report)
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
    """One item a picture (or id, where there is no picture), in the order of the table."""

    def cell(record: Record, part: str) -> Any:
        name = parts[part]
        return None if name is None else record.get(name)

    items: dict[str, _Item] = {}
    for record in records:
        image, own_id, split = (_one(cell(record, part)) for part in ("image", "id", "split"))
        key = image or own_id
        if key is None:
            continue
        item = items.setdefault(key, _Item(own_id, image, split))
        for target, part in ((item.captions, "caption"), (item.tags, "tags"), (item.labels, "labels")):
            for text in _many(cell(record, part), None if part == "caption" else separator):
                if text not in target:
                    target.append(text)
    return list(items.values())


def _one(value: Any) -> str | None:
    text = "" if value is None else normalize_text(str(value))
    return text or None


def _many(value: Any, separator: str | None) -> list[str]:
    """Texts of a cell: a JSON list as it is, a string split at the separator where there is one."""
    if value is None:
        return []
    if not isinstance(value, list):
        value = [value] if separator is None else str(value).split(separator)
    return [text for text in (normalize_text(str(part)) for part in value) if text]


def _find_pictures(
    source: Source, items: list[_Item], pictures: list[str], keep_missing: bool, report: ImportReport
) -> None:
    """Replace each item's picture by its name in the source; complain of, or count, those not there."""
    known = set(pictures) | set(source.names)
    by_name: Counter[str] = Counter(PurePosixPath(name).name for name in pictures)
    full = {PurePosixPath(name).name: name for name in pictures}
    missing = []
    for item in items:
        if item.image is None or item.image in known:
            continue
        base = PurePosixPath(item.image.replace("\\", "/")).name
        if by_name[base] == 1:
            item.image = full[base]
        else:
            missing.append(item.image)
            item.id, item.image = item.id or _stem(item.image), None
    if missing and not keep_missing:
        raise LimbeckError(
            f"{source.path}: {len(missing)} of {len(items)} pictures are missing (first: {missing[0]}); "
            "restore them or use --keep-missing"
        )
    if missing:
        report.notes.append(f"{len(missing):,} rows kept without picture")
    unused = len(set(pictures) - {item.image for item in items})
    if unused:
        report.notes.append(f"{unused:,} pictures are not in the table and were left out")


def _ids(items: list[_Item]) -> list[str]:
    """The id given, else the picture's path without suffix, with suffix where two would collide."""
    stems = [_stem(item.image or "") for item in items]
    count = Counter(stems)
    return [
        item.id or (stem if count[stem] == 1 else item.image or "")
        for item, stem in zip(items, stems, strict=True)
    ]


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)


FOLDER = Importer(
    "folder",
    "pictures in a folder or zip, with a CSV, TSV or JSONL table (image, caption, tags, …) or none",
    frozenset({"table", "separator", *(f"{part}_column" for part in _GUESSES)}),
    import_folder,
)
