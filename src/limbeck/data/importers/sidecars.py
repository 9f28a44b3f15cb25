"""Texts and JSON files next to pictures, for folders without a table; and folders as classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa

from limbeck.data.importers.base import ImportReport, Source
from limbeck.data.importers.folder_table import FolderOptions, Rows
from limbeck.data.importers.listed import split_name
from limbeck.data.importers.locate import some
from limbeck.data.schema import RESERVED
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text
from limbeck.tables import load_json
from limbeck.tables.records import to_columns
from limbeck.typed import Json

_CAPTION = ("caption", "captions", "text")
_LONG = (
    10_000  # characters; a longer text in a JSON file is a picture or an outline, not a value to filter by
)
_SPLITS = frozenset({"train", "val", "test"})


def read_sidecars(source: Source, rows: Rows, report: ImportReport) -> Rows | None:
    """Read captions from ``NAME.txt``, else from the field ``caption`` of ``NAME.json``, and other plain
    fields.

    This is the layout of img2dataset: a text file has one caption, a JSON file one object. Return None if
    no picture has either.

    Raises:
        LimbeckError: a JSON file holds no object.
    """
    there = set(source.names).difference(source.pictures)
    texts, facts = {}, {}
    stems = [str(PurePosixPath(str(picture)).with_suffix("")) for picture in rows.images]
    shared = {stem for stem, times in Counter(stems).items() if times > 1}
    if lost := sorted(stem for stem in shared if {f"{stem}.txt", f"{stem}.json"} & there):
        what = f"texts of {len(lost):,} names belong to several pictures and were skipped"
        report.notes.append(f"{what}: {some(lost)}")
    for row, stem in enumerate(stems):
        if stem in shared:
            continue
        if f"{stem}.txt" in there:
            texts[row] = normalize_text(source.read_text(f"{stem}.txt"))
        if f"{stem}.json" in there:
            name = f"{stem}.json"
            content = load_json(source.read_text(name), name)
            if not isinstance(content, dict):
                raise LimbeckError(
                    f"{name}: contains no object; remove it or name a table with --table",
                    code="E-IMPORT-LAYOUT",
                )
            facts[row] = content
    if not texts and not facts:
        return None
    captions = [
        [texts[row]] if texts.get(row) else _captions(facts.get(row, {})) for row in range(len(rows.images))
    ]
    report.notes.remove("no table found: pictures only")
    report.notes += [
        f"no table found: texts of {len(texts):,} and JSON of {len(facts):,} "
        f"of {len(rows.images):,} pictures were read"
    ]
    report.notes += source.reading_notes()
    further = _further([facts.get(row, {}) for row in range(len(rows.images))], report)
    return replace(rows, captions=captions, further=further)


def _captions(facts: dict[str, object]) -> list[str]:
    value = next((facts[name] for name in _CAPTION if facts.get(name)), [])
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [text for text in map(normalize_text, map(str, texts)) if text]


def _further(facts: list[dict[str, Json]], report: ImportReport) -> pa.Table:
    """Return columns of the plain fields that are not captions."""
    plain: list[dict[str, Json]] = []
    dropped = set()
    for content in facts:
        values: dict[str, Json] = {}
        for name, value in content.items():
            if name in _CAPTION:
                continue
            if isinstance(value, dict | list) or (isinstance(value, str) and len(value) > _LONG):
                dropped.add(name)
            else:
                values[f"given_{name}" if name in RESERVED else name] = value
        plain.append(values)
    if not any(plain):
        return pa.table({})
    columns, _, notes = to_columns(plain, (), "JSON next to pictures")
    report.notes += notes
    report.notes.append(f"further columns kept: {', '.join(columns.column_names)}")
    if dropped:
        report.notes.append(f"fields skipped, because they are nested or long: {', '.join(sorted(dropped))}")
    return columns


def folder_labels(
    source: Source, rows: Rows, options: FolderOptions, report: ImportReport, has_texts: bool
) -> Rows:
    """Use folders as labels, on request or if the layout shows it; ``has_texts``: the pictures have texts.

    The layout shows it if all pictures are in ``SPLIT/CLASS/``, with train, val or test (or a synonym) as
    SPLIT; these become the split column. With ``--folder-labels`` the folder of a picture is its label,
    whatever is above it; pictures outside folders have none. Otherwise a note names the option.

    Raises:
        LimbeckError: folders are requested as labels, but no picture is in a folder.
    """
    parents = [PurePosixPath(str(picture)).parent.parts for picture in rows.images]
    words = [split_name(folders[0].lower()) if len(folders) > 1 else "" for folders in parents]
    by_split = bool(words) and set(words) <= _SPLITS and {len(folders) for folders in parents} == {2}
    classes = Counter(folders[-1] for folders in parents if folders)
    if options.folder_labels and not classes:
        raise LimbeckError(
            f"{source.path}: no picture is in a folder; remove --folder-labels", code="E-OPTION-UNUSED"
        )
    if not options.folder_labels and (has_texts or not by_split):
        if (
            not has_texts
            and len(classes) > 1
            and all(parents)
            and {len(folders) for folders in parents} == {1}
        ):
            hint = "--folder-labels makes these their labels"
            report.notes.append(f"all pictures are in {len(classes):,} folders; {hint}")
        return rows
    labels = [[name] if folders and (name := normalize_text(folders[-1])) else [] for folders in parents]
    report.notes.append(f"labels are the folders of the pictures: {len(classes):,} classes")
    if by_split:
        report.notes.append(f"splits are the folders above: {', '.join(sorted(set(words)))}")
        return replace(rows, labels=labels, splits=[*words])
    return replace(rows, labels=labels)
