"""MIRFlickr-25K: the official download, and the 20,015 aligned rows of DCMH, SSAH and their followers."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from limbeck.data.importers.base import Importer, ImportOptions, ImportReport, Source, attach_features
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text

# Column order of all_labels.txt; the official annotation files carry the same names.
# fmt: off
LABELS = [
    "animals", "baby", "bird", "car", "clouds", "dog", "female", "flower",
    "food", "indoor", "lake", "male", "night", "people", "plant_life", "portrait",
    "river", "sea", "sky", "structures", "sunset", "transport", "tree", "water",
]
# fmt: on
LISTS = ("all_imgs.txt", "all_tags.txt", "all_labels.txt")
Columns = dict[str, list[Any]]


def import_mirflickr(src: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Import either layout, told apart by the presence of ``all_*.txt``; ids are ``im1`` … ``im25000``.

    Raises:
        LimbeckError: neither layout, lists or annotations missing (all named at once), lists of unequal
            length, a broken label row.
    """
    source = Source(src)
    report = ImportReport(options.name or "mirflickr")
    lists = next(filter(None, map(source.find, LISTS)), None)
    columns = _aligned(source, lists, report) if lists else _official(source, options, report)
    available = set(source.names)
    columns["image"] = [_locate(image, available, lists) for image in columns["image"]]
    missing = sum(image is None for image in columns["image"])
    if missing and not options.keep_missing:
        keep = [at for at, image in enumerate(columns["image"]) if image is not None]
        columns = {name: [values[at] for at in keep] for name, values in columns.items()}
        report.notes.append(f"{missing:,} rows without picture dropped (--keep-missing keeps them)")
    elif missing:
        report.notes.append(f"{missing:,} rows kept without picture")
    if not columns["id"]:
        raise LimbeckError(f"{src}: not one picture of the lists is there; restore mirflickr/im*.jpg")
    features = attach_features(columns, options.features, report)
    report.rows = len(columns["id"])
    report.counts |= {
        "with picture": sum(image is not None for image in columns["image"]),
        "tags": sum(map(len, columns["tags"])),
        "labels": sum(map(len, columns["labels"])),
    }
    meta = {"name": report.name, "label_names": LABELS, "media": source.media, "features": features}
    Pairs.write(out, columns, meta, replace=options.replace)
    return report


def _locate(image: str, available: set[str], lists: str | None) -> str | None:
    """Name of a picture in the source: as listed, beside the lists, or without the leading folder."""
    parent = str(PurePosixPath(lists).parent) if lists else "."
    for name in (image, f"{parent}/{image}", PurePosixPath(image).name):
        if name in available:
            return name
    return None


def _aligned(source: Source, lists: str, report: ImportReport) -> Columns:
    """The aligned lists: line i of every file is row i."""
    files = [str(PurePosixPath(lists).with_name(name)) for name in LISTS]
    missing = [file for file in files if file not in set(source.names)]
    if missing:
        raise LimbeckError(
            f"{source.path}: of the aligned lists these are missing: {', '.join(missing)}; restore them all"
        )
    images, tags, labels = (source.read_text(file).splitlines() for file in files)
    for name, other in (("all_tags.txt", tags), ("all_labels.txt", labels)):
        if len(other) != len(images):
            raise LimbeckError(
                f"{source.path}: {name} has {len(other)} lines, all_imgs.txt has {len(images)}; "
                "they must be aligned"
            )
    columns: Columns = {"id": [], "image": [], "tags": [], "labels": []}
    for at, (image, words, flags) in enumerate(zip(images, tags, labels, strict=True)):
        bits = flags.split()
        if len(bits) != len(LABELS) or set(bits) - {"0", "1"}:
            raise LimbeckError(
                f"{source.path}: all_labels.txt line {at + 1} is not {len(LABELS)} zeros and ones"
            )
        columns["id"].append(PurePosixPath(image).stem)
        columns["image"].append(image.strip())
        columns["tags"].append([word for word in map(normalize_text, words.split(",")) if word])
        columns["labels"].append([name for name, bit in zip(LABELS, bits, strict=True) if bit == "1"])
    report.notes.append(f"aligned lists, {len(images):,} rows")
    _cross_check(source, lists, columns, report)
    return columns


def _cross_check(source: Source, lists: str, columns: Columns, report: ImportReport) -> None:
    """Label names of labels_annotation.txt must agree, TagList.txt should know each tag, where they exist."""
    named = str(PurePosixPath(lists).with_name("labels_annotation.txt"))
    if named in source.names:
        for at, line in enumerate(source.read_text(named).splitlines()[: len(columns["id"])]):
            if sorted(filter(None, line.strip().split(","))) != columns["labels"][at]:
                raise LimbeckError(
                    f"{source.path}: {named} line {at + 1} disagrees with all_labels.txt; restore the lists"
                )
    known = str(PurePosixPath(lists).with_name("TagList.txt"))
    if known in source.names:
        vocabulary = {normalize_text(line) for line in source.read_text(known).splitlines()}
        unknown = {tag for tags in columns["tags"] for tag in tags} - vocabulary
        if unknown:
            report.notes.append(f"{len(unknown)} tags are not in TagList.txt (first: {min(unknown)!r})")


def _official(source: Source, options: ImportOptions, report: ImportReport) -> Columns:
    """The official download: im*.jpg, meta/tags/tags*.txt, and one file of picture numbers per label."""
    pictures: dict[int, str] = {}
    for name in source.names:
        match = re.search(r"(?:^|/)im(\d+)\.jpg$", name)
        if match:
            pictures.setdefault(int(match[1]), name)
    if not pictures:
        raise LimbeckError(f"{source.path}: neither all_imgs.txt nor im*.jpg; unpack MIRFlickr-25K there")
    notes = source if options.annotations is None else Source(options.annotations)
    labels: dict[int, list[str]] = {number: [] for number in pictures}
    files = {label: notes.find(f"{label}.txt") for label in LABELS}
    missing = [f"{label}.txt" for label, file in files.items() if file is None]
    if missing:
        raise LimbeckError(
            f"{notes.path}: {len(missing)} of {len(LABELS)} annotation files are missing: "
            f"{', '.join(missing)}; unpack mirflickr25k_annotations_v080 there or give it with --annotations"
        )
    for label, file in files.items():
        assert file is not None
        for word in notes.read_text(file).split():
            if not word.isdigit():
                raise LimbeckError(f"{notes.path}: {file} holds {word!r}, not a picture number")
            if int(word) in labels:
                labels[int(word)].append(label)
    tag_files = {
        int(match[1]): name
        for name in source.names
        if (match := re.search(r"(?:^|/)tags/tags(\d+)\.txt$", name))
    }
    columns: Columns = {"id": [], "image": [], "tags": [], "labels": []}
    for number in sorted(pictures):
        words = source.read_text(tag_files[number]).splitlines() if number in tag_files else []
        columns["id"].append(f"im{number}")
        columns["image"].append(pictures[number])
        columns["tags"].append([word for word in map(normalize_text, words) if word])
        columns["labels"].append(labels[number])
    without = sum(number not in tag_files for number in pictures)
    report.notes.append(
        "official layout" + (f", {without:,} pictures without a tags file" if without else "")
    )
    return columns


MIRFLICKR = Importer(
    "mirflickr",
    "MIRFlickr-25K: the official folders, or the 20,015 aligned lists (all_imgs.txt, all_tags.txt, …)",
    frozenset({"annotations"}),
    import_mirflickr,
)
