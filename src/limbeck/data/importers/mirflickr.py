"""MIRFlickr-25K: the official download, and the 20,015 aligned rows of DCMH, SSAH and later papers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from limbeck.data.importers.base import Columns, ImportOptions, ImportReport, Source, write_pairs
from limbeck.data.importers.locate import find_pictures, numbered, some
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text

# Column order of all_labels.txt; the official annotation files have the same names.
# fmt: off
LABELS = [
    "animals", "baby", "bird", "car", "clouds", "dog", "female", "flower",
    "food", "indoor", "lake", "male", "night", "people", "plant_life", "portrait",
    "river", "sea", "sky", "structures", "sunset", "transport", "tree", "water",
]
# fmt: on
LISTS = ("all_imgs.txt", "all_tags.txt", "all_labels.txt")


@dataclass(frozen=True)
class MirflickrOptions(ImportOptions):
    """``annotations``: the folder or zip of the label files, if they are outside the source."""

    annotations: Path | None = None


def import_mirflickr(src: Path, out: Path, options: MirflickrOptions) -> ImportReport:
    """Import either layout, distinguished by the presence of ``all_*.txt``; ids are ``im1`` … ``im25000``.

    Raises:
        LimbeckError: the layout is neither of the two; lists, annotation files, all pictures or all tags are
            missing (all are named at once); lists differ in length; a label row is broken.
    """
    options.check_paths(src, out)
    source = Source(src)
    report = ImportReport(options.name or "mirflickr")
    lists = next(filter(None, map(source.find, LISTS)), None)
    columns = _aligned(source, lists, report) if lists else _official(source, options, report)
    columns["image"] = find_pictures(
        source, columns["image"], report, list_name=lists or "", keep_missing=options.keep_missing
    ).found
    missing = [item for item, image in zip(columns["id"], columns["image"], strict=True) if image is None]
    if missing and not options.keep_missing:
        keep = [at for at, image in enumerate(columns["image"]) if image is not None]
        columns = {name: [values[at] for at in keep] for name, values in columns.items()}
        report.notes.append(
            f"{len(missing):,} rows without picture dropped (--keep-missing keeps them): {some(missing)}"
        )
    elif missing:
        report.notes.append(f"{len(missing):,} rows kept without picture: {some(missing)}")
    if not columns["id"]:
        raise LimbeckError(
            f"{src}: none of the listed pictures was found; restore mirflickr/im*.jpg",
            code="E-PICTURE-MISSING",
        )
    report.notes += source.reading_notes()
    counts = {
        "with picture": sum(image is not None for image in columns["image"]),
        "tags": sum(map(len, columns["tags"])),
        "labels": sum(map(len, columns["labels"])),
    }
    return write_pairs(out, columns, source, options, report, LABELS, counts)


def _aligned(source: Source, lists: str, report: ImportReport) -> Columns:
    """Read the aligned lists: line i of every file is row i."""
    files = [str(PurePosixPath(lists).with_name(name)) for name in LISTS]
    missing = [file for file in files if file not in set(source.names)]
    if missing:
        raise LimbeckError(
            f"{source.path}: these aligned lists are missing: {', '.join(missing)}; restore them all",
            code="E-IMPORT-MISSING",
        )
    images, tags, labels = (source.read_lines(file) for file in files)
    for name, other in (("all_tags.txt", tags), ("all_labels.txt", labels)):
        if len(other) != len(images):
            raise LimbeckError(
                f"{source.path}: {name} has {len(other)} lines, but all_imgs.txt has {len(images)}; "
                "they must be aligned",
                code="E-IMPORT-CONFLICT",
            )
    columns: Columns = {"id": [], "image": [], "tags": [], "labels": []}
    for at, (image, words, flags) in enumerate(zip(images, tags, labels, strict=True)):
        bits = flags.split()
        if len(bits) != len(LABELS) or set(bits) - {"0", "1"}:
            raise LimbeckError(
                f"{source.path}: all_labels.txt line {at + 1} is not {len(LABELS)} zeros and ones",
                code="E-IMPORT-LAYOUT",
            )
        columns["id"].append(PurePosixPath(image).stem)
        columns["image"].append(image.strip())
        columns["tags"].append([word for word in map(normalize_text, words.split(",")) if word])
        columns["labels"].append([name for name, bit in zip(LABELS, bits, strict=True) if bit == "1"])
    report.notes.append(f"aligned lists, {len(images):,} rows")
    _cross_check(source, lists, columns, report)
    return columns


def _cross_check(source: Source, lists: str, columns: Columns, report: ImportReport) -> None:
    """Compare labels_annotation.txt with the labels, and TagList.txt with the tags, if the files exist."""
    named = str(PurePosixPath(lists).with_name("labels_annotation.txt"))
    if named in source.names:
        for at, line in enumerate(source.read_lines(named)[: len(columns["id"])]):
            if sorted(filter(None, line.strip().split(","))) != columns["labels"][at]:
                raise LimbeckError(
                    f"{source.path}: {named} line {at + 1} disagrees with all_labels.txt; restore the lists",
                    code="E-IMPORT-CONFLICT",
                )
    known = str(PurePosixPath(lists).with_name("TagList.txt"))
    if known in source.names:
        vocabulary = {normalize_text(line) for line in source.read_lines(known)}
        unknown = {tag for tags in columns["tags"] for tag in tags} - vocabulary
        if unknown:
            report.notes.append(f"{len(unknown)} tags are not in TagList.txt (first: {min(unknown)!r})")


def _official(source: Source, options: MirflickrOptions, report: ImportReport) -> Columns:
    """Read the official download: im*.jpg, meta/tags/tags*.txt, and one file of picture numbers per label.

    Rows are all numbers that any of the three names; a missing picture still gets the name ``imN.jpg``.
    """
    pictures = numbered(source.names, r"im([0-9]+)\.jpg", source.path)
    tag_files = numbered(source.names, r"tags/tags([0-9]+)\.txt", source.path)
    notes = source if options.annotations is None else Source(options.annotations)
    files = {label: notes.find(f"{label}.txt") for label in LABELS}
    words = {label: notes.read_text(file).split() for label, file in files.items() if file is not None}
    carried: dict[int, list[str]] = {}
    for label, found in words.items():
        for number in {int(word) for word in found if word.isdecimal()}:
            carried.setdefault(number, []).append(label)
    numbers = sorted(pictures.keys() | tag_files.keys() | carried.keys()) or list(range(1, 25_001))
    lost = {
        "im*.jpg": [f"im{number}.jpg" for number in numbers if number not in pictures],
        "meta/tags/tags*.txt": [f"tags{number}.txt" for number in numbers if number not in tag_files],
        "annotation files": [f"{label}.txt" for label in LABELS if label not in words],
    }
    if lost["annotation files"] or not pictures or not tag_files:
        parts = []
        for kind, names in lost.items():
            total, shown = (len(LABELS), len(LABELS)) if kind == "annotation files" else (len(numbers), 3)
            if names:
                parts.append(f"{len(names):,} of {total:,} {kind} ({some(names, shown)})")
        where = "" if options.annotations is None else f" (annotations: {notes.path})"
        raise LimbeckError(
            f"{source.path}{where}: has no all_imgs.txt, and files of official MIRFlickr-25K are missing: "
            f"{'; '.join(parts)}; unpack mirflickr25k.zip and mirflickr25k_annotations_v080.zip there, "
            "or name the annotations with --annotations",
            code="E-IMPORT-MISSING",
        )
    for label, found in words.items():
        if odd := next((word for word in found if not word.isdecimal()), None):
            raise LimbeckError(
                f"{notes.path}: {files[label]} contains {odd!r}, not a picture number", code="E-IMPORT-LAYOUT"
            )
    columns: Columns = {"id": [], "image": [], "tags": [], "labels": []}
    for number in numbers:
        own = source.read_lines(tag_files[number]) if number in tag_files else []
        columns["id"].append(f"im{number}")
        columns["image"].append(pictures.get(number, f"im{number}.jpg"))
        columns["tags"].append([word for word in map(normalize_text, own) if word])
        columns["labels"].append(carried.get(number, []))
    report.notes.append("official layout")
    if without := [f"tags{number}.txt" for number in sorted(pictures.keys() - tag_files.keys())]:
        report.notes.append(f"{len(without):,} pictures without a tags file: no {some(without)}")
    return columns
