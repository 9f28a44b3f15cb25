"""Import of a folder (or zip) of pictures, with a table, with texts next to the pictures, or alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from limbeck.data.importers.base import Columns, ImportReport, Source, write_pairs
from limbeck.data.importers.folder_table import FolderOptions, Rows, bare_rows, find_table, table_rows
from limbeck.data.importers.locate import find_pictures, note_unused, some, unique_ids
from limbeck.data.importers.sidecars import folder_labels, read_sidecars
from limbeck.errors import LimbeckError
from limbeck.names import clean_path, roots_of, show
from limbeck.pictures import is_picture_name
from limbeck.tables import ENDINGS


def import_folder(src: Path, out: Path, options: FolderOptions) -> ImportReport:
    """Import pictures with a table; several rows of the same picture become its several captions.

    Pictures are found by the rules of `limbeck.names`, endings left out where no name has one. A table
    without a column of pictures finds them by its ids. Ids come from the id column, else from the picture's
    path without suffix. Columns without a role are kept. Without a table, texts beside the pictures are read
    (`sidecars`), or folders are labels.

    Raises:
        LimbeckError: there are no pictures and no table, a column or a picture is missing, a name fits
            several pictures, a picture is in two splits, or there are no rows.
    """
    options.check_paths(src, out)
    source = Source(src)
    report = ImportReport(options.name or src.resolve().stem)
    table = find_table(source, options)
    if table is None:
        if (flag := options.needs_table()) is not None:
            raise LimbeckError(f"{src}: {flag} needs a table; add one with --table", code="E-OPTION-MISSING")
        report.notes.append("no table found: pictures only")
        if other := [name for name in source.names if Path(name).suffix.lower() in ENDINGS - {".json"}]:
            report.notes.append(f"{some(other)} was not looked into; --table takes such a file")
        rows = bare_rows(source.pictures)
        with_texts = read_sidecars(source, rows, report)
        rows = folder_labels(
            source, rows if with_texts is None else with_texts, options, report, with_texts is not None
        )
    else:
        if options.folder_labels:
            raise LimbeckError(
                f"{table.name}: the table defines the labels; remove --folder-labels",
                code="E-OPTION-CONFLICT",
            )
        rows, parts = table_rows(table, options, report)
        rows = _find_pictures(source, rows, table.name, parts, options, report)
        rows = _merge(rows, table.name, report)
    count = len(rows.ids)
    if not count:
        what = (
            f"the table {table.name} has no rows"
            if table
            else "it has no pictures; name a table with --table"
        )
        raise LimbeckError(f"{src}: there is nothing to import: {what}", code="E-IMPORT-MISSING")
    columns: Columns = {
        "id": _ids(rows),
        "image": rows.images,
        "captions": rows.captions,
        "tags": rows.tags,
        "labels": rows.labels,
    }
    if any(rows.splits):
        columns["split"] = rows.splits
    if any(rows.paths):
        columns["path"] = rows.paths
    columns |= {name: rows.further.column(name) for name in rows.further.column_names}
    counts = {
        "with picture": sum(image is not None for image in rows.images),
        "captions": sum(map(len, rows.captions)),
        "tags": sum(map(len, rows.tags)),
        "labels": sum(map(len, rows.labels)),
    }
    labels = sorted({label for own in rows.labels for label in own})
    used = "" if table is None else table.name
    return write_pairs(out, columns, source, options, report, labels, counts, used=used)


def _find_pictures(
    source: Source,
    rows: Rows,
    table: str,
    parts: dict[str, str | None],
    options: FolderOptions,
    report: ImportReport,
) -> Rows:
    """Return the rows with the names of their pictures in the source; refuse or count missing ones."""
    by_id = parts["image"] is None
    requested = rows.ids if by_id else rows.images
    named = [row for row, name in enumerate(requested) if name is not None]
    names = [str(requested[row]) for row in named]
    place = table if table in source.names else ""
    endings = by_id or not any(map(is_picture_name, names))
    resolved = find_pictures(
        source, names, report, list_name=place, endings=endings, keep_missing=options.keep_missing
    )
    roots = roots_of(source.path)
    images: list[str | None] = [None] * len(requested)
    missing: list[str | None] = [None] * len(requested)
    for row, name, image in zip(named, names, resolved.found, strict=True):
        images[row] = image
        missing[row] = None if image is not None or by_id else clean_path(name, roots)
    lost = list(dict.fromkeys(n for n, image in zip(names, resolved.found, strict=True) if image is None))
    count = len(set(names))
    if by_id and len(lost) == count and options.features:
        report.notes.append("no pictures: features only")
    elif lost and not options.keep_missing:
        cure = (
            f"ids of column {parts['id']!r} were used as file names: name a column with --image-column, "
            if by_id
            else "restore them "
        )
        raise LimbeckError(
            f"{source.path}: {len(lost):,} of {count:,} pictures are missing "
            f"(first: {resolved.why(lost[0])}); {cure}or use --keep-missing",
            code="E-PICTURE-MISSING",
        )
    elif lost:
        report.notes.append(f"{len(lost):,} rows kept without picture: {some(lost)}")
    note_unused(source, resolved.found, report)
    return replace(rows, images=images, missing=missing)


def _merge(rows: Rows, table: str, report: ImportReport) -> Rows:
    """Merge to one row per picture, or per id where there is no picture, in the order of the table.

    Raises:
        LimbeckError: a picture is in two splits.
    """
    first: dict[tuple[bool, bool, str | None], int] = {}
    more: dict[int, list[int]] = {}
    for row, (image, missing, own) in enumerate(zip(rows.images, rows.missing, rows.ids, strict=True)):
        place = image if image is not None else missing
        key = (image is None, place is None, own if place is None else place)
        at = first.setdefault(key, row)
        if at != row:
            more.setdefault(at, []).append(row)
    if not more:
        return rows
    places = {at: str(key[2]) for key, at in first.items() if at in more}
    renamed, differ = [], dict.fromkeys(rows.further.column_names, 0)
    for at, others in more.items():
        place = places[at]
        for row in others:
            mine, theirs = rows.splits[at], rows.splits[row]
            if mine and theirs and mine != theirs:
                where = f"{show(place)} is in the splits {mine} and {theirs}"
                raise LimbeckError(f"{table}: {where}; keep it in one", code="E-IMPORT-CONFLICT")
            rows.splits[at] = mine or theirs
            rows.paths[at] = rows.paths[at] or rows.paths[row]
        if any(rows.ids[row] != rows.ids[at] for row in others):
            renamed.append(place)
        for lists in (rows.captions, rows.tags, rows.labels):
            lists[at] = list(dict.fromkeys(text for row in (at, *others) for text in lists[row]))
    if renamed:
        what = f"{len(renamed):,} pictures have several ids; the first one is used"
        report.notes.append(f"{what}: {some(renamed)}")
    for name in differ:
        values = rows.further.column(name)
        wanted = pa.array([row for at, others in more.items() for row in (at, *others)], pa.int64())
        cells = iter(values.take(wanted).to_pylist())
        for others in more.values():
            own = next(cells)
            differ[name] += any([next(cells) != own for _ in others])
    unequal = [f"{name} ({count:,})" for name, count in differ.items() if count]
    if unequal:
        report.notes.append(f"rows of one picture differ in {', '.join(unequal)}; the first row is used")
    return rows.take(list(first.values()))


def _ids(rows: Rows) -> list[str]:
    """Return the given id, else the picture's path without suffix, with suffix where two would collide."""
    if None not in rows.ids:
        return [str(own) for own in rows.ids]
    places = zip(rows.images, rows.missing, strict=True)
    own = unique_ids([image or missing or "" for image, missing in places], folders=True)
    return [row_id or name for row_id, name in zip(rows.ids, own, strict=True)]
