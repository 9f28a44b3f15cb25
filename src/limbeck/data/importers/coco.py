"""MS COCO in its official layout: ``annotations/*.json`` with ``train2017/`` and ``val2017/`` (or 2014)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from limbeck.data.importers.base import ImportReport, PictureOptions, Source
from limbeck.data.importers.json_files import entries, parse_json
from limbeck.data.importers.listed import Listed, write_listed
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text

KINDS = ("captions", "instances")
_FILE = re.compile(r"(?:^|/)(captions|instances)_(train|val)(\d{4})\.json$")
_LAYOUT = "COCO's captions_*.json and instances_*.json"


@dataclass(frozen=True)
class CocoOptions(PictureOptions):
    """``year``: 2014 or 2017, where there are both; ``only``: one of `KINDS`, else both are required."""

    year: str | None = None
    only: str | None = None


def import_coco(src: Path, out: Path, options: CocoOptions) -> ImportReport:
    """Import captions, and the categories of instances as labels, of train, val or both.

    Labels are in the order of the file's categories; the split column is train or val. Pictures are in
    ``src``, or in ``options.images``. Ids are file names without suffix. With ``options.only`` (captions or
    instances) only files of that kind are required and read.

    Raises:
        LimbeckError: annotation files are missing (all are named at once), there are several years and no
            ``options.year``, a file has another layout, categories differ between the files, or there are
            no pictures.
    """
    options.check_paths(src, out)
    source = Source(src)
    photos = options.picture_source(source)
    report = ImportReport(options.name or "coco")
    year, files = _annotation_files(source, photos, options)
    listed: list[Listed] = []
    labels: list[str] = []
    roots: set[str] = set()
    for split in ("train", "val"):
        rows: dict[int, Listed] = {}
        if name := files.get(("captions", split)):
            content = _read(source, name, rows, f"{split}{year}", split)
            _captions(content, rows, name, report)
        if name := files.get(("instances", split)):
            content = _read(source, name, rows, f"{split}{year}", split)
            categories = _labels(content, rows, name, report)
            roots |= _roots(content)
            if labels and categories != labels:
                raise LimbeckError(
                    f"{name}: its categories differ from those of train; use files of one set",
                    code="E-IMPORT-CONFLICT",
                )
            labels = categories
        listed.extend(rows.values())
    used = {label for row in listed for label in row.labels}
    if empty := [label for label in labels if label in roots and label not in used]:
        labels = [label for label in labels if label not in empty]
        report.notes.append(
            f"{len(empty):,} categories only group others and are not classes: {', '.join(empty)}"
        )
    if not listed:
        raise LimbeckError(
            f"{source.path}: the annotation files of {year} list no pictures; restore them",
            code="E-IMPORT-MISSING",
        )
    read = ", ".join(sorted(Path(name).stem for name in files.values()))
    report.notes += source.reading_notes()
    report.notes.append(f"read {read}" + ("" if options.only is None else f"; only {options.only} (--only)"))
    return write_listed(listed, photos, out, options, report, labels)


def _annotation_files(
    source: Source, photos: Source, options: CocoOptions
) -> tuple[str, dict[tuple[str, str], str]]:
    """Return the year, and the file of each (kind, split) of that year.

    A split with a file or a folder of pictures needs a file of each kind.
    """
    if options.only not in (None, *KINDS):
        raise LimbeckError(f"--only {options.only}: choose {' or '.join(KINDS)}", code="E-OPTION-CHOICE")
    kinds = KINDS if options.only is None else (options.only,)
    year = options.year
    pictures = [PurePosixPath(name) for name in photos.pictures]
    without_pictures = not pictures and not options.keep_missing
    matches = [(match, name) for name in source.names if (match := _FILE.search(name)) and match[1] in kinds]
    years = sorted({match[3] for match, _ in matches})
    if not years:
        wanted = " or ".join(f"{kind}_*.json" for kind in kinds)
        nor = ", and no pictures" if without_pictures else ""
        raise LimbeckError(
            f"{source.path}: has no {wanted} of COCO in annotations/{nor}; unpack the downloads there",
            code="E-IMPORT-MISSING",
        )
    if year is None and len(years) > 1:
        raise LimbeckError(
            f"{source.path}: annotations of {', '.join(years)} share pictures; choose with --year",
            code="E-IMPORT-CHOICE",
        )
    if year is not None and year not in years:
        raise LimbeckError(
            f"{source.path}: there are no annotations of {year}; there are {', '.join(years)}",
            code="E-IMPORT-MISSING",
        )
    chosen = year or years[0]
    files = {(match[1], match[2]): name for match, name in matches if match[3] == chosen}
    folders = {part for picture in pictures for part in picture.parts[:-1]}
    splits = [
        split
        for split in ("train", "val")
        if f"{split}{chosen}" in folders or any((kind, split) in files for kind in kinds)
    ]
    absent = [
        f"{kind}_{split}{chosen}.json" for split in splits for kind in kinds if (kind, split) not in files
    ]
    if absent:
        if without_pictures:
            absent += [f"{split}{chosen}/*.jpg" for split in splits]
        instead = "" if options.only else ", or import one kind with --only captions or --only instances"
        raise LimbeckError(
            f"{source.path}: these files of COCO are missing: {', '.join(absent)}; restore them{instead}",
            code="E-IMPORT-MISSING",
        )
    return chosen, files


def _read(source: Source, name: str, rows: dict[int, Listed], folder: str, split: str) -> dict[str, Any]:
    """Return the file's content, and add a row for each of its pictures."""
    content = parse_json(source.read_text(name), name, _without_outlines)
    for image in entries(content, "images", {"id": int, "file_name": str}, name, _LAYOUT):
        file = f"{folder}/{image['file_name']}"
        if rows.setdefault(image["id"], Listed(file, split=split)).name != file:
            raise LimbeckError(
                f"{name}: picture {image['id']} is {image['file_name']!r} here and "
                f"{rows[image['id']].name!r} before; use files of one set",
                code="E-IMPORT-CONFLICT",
            )
    return content


def _without_outlines(item: dict[str, Any]) -> dict[str, Any]:
    """Drop outlines while reading: they are most of the file, unused here, and would take memory."""
    item.pop("segmentation", None)
    return item


def _captions(content: dict[str, Any], rows: dict[int, Listed], name: str, report: ImportReport) -> None:
    stray = 0
    for item in entries(content, "annotations", {"image_id": int, "caption": str}, name, _LAYOUT):
        row = rows.get(item["image_id"])
        if row is None:
            stray += 1
        else:
            row.captions.append(item["caption"])
    if stray:
        report.notes.append(f"{stray:,} captions of {name} belong to no listed picture and were skipped")


def _labels(content: dict[str, Any], rows: dict[int, Listed], name: str, report: ImportReport) -> list[str]:
    """Label each row with its categories; return all category names in file order."""
    categories: dict[int, str] = {}
    number_of: dict[str, int] = {}
    for item in entries(content, "categories", {"id": int, "name": str}, name, _LAYOUT):
        number, label = item["id"], normalize_text(item["name"])
        if number in categories and categories[number] != label:
            raise LimbeckError(
                f"{name}: category {number} is {categories[number]!r} and {label!r}; use one name",
                code="E-IMPORT-CONFLICT",
            )
        if number_of.setdefault(label, number) != number:
            raise LimbeckError(
                f"{name}: categories {number_of[label]} and {number} are both named {label!r}; "
                "rename one, or give both one id",
                code="E-IMPORT-CONFLICT",
            )
        categories[number] = label
    seen: dict[int, set[int]] = {}
    stray = 0
    for item in entries(content, "annotations", {"image_id": int, "category_id": int}, name, _LAYOUT):
        if item["category_id"] not in categories:
            raise LimbeckError(
                f"{name}: category_id {item['category_id']!r} is in no category; restore the file",
                code="E-IMPORT-CONFLICT",
            )
        if item["image_id"] in rows:
            seen.setdefault(item["image_id"], set()).add(item["category_id"])
        else:
            stray += 1
    if stray:
        report.notes.append(f"{stray:,} instances of {name} belong to no listed picture and were skipped")
    for image, row in rows.items():
        inside = seen.get(image, set())
        row.labels = [label for number, label in categories.items() if number in inside]
    return list(categories.values())


def _roots(content: dict[str, Any]) -> set[str]:
    """Return the names of categories that group others; labelling tools write such a root."""
    groups = {(item["name"], item.get("supercategory")) for item in content["categories"]}
    return {normalize_text(str(group)) for label, group in groups if group and group != label}
