"""NUS-WIDE in its official layout: image list, ground truth of 81 concepts, and the 1,000 or all tags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from limbeck.data.importers.base import Columns, ImportReport, PictureOptions, Source, write_pairs
from limbeck.data.importers.locate import find_pictures
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text

# fmt: off
CONCEPTS: dict[str, list[str]] = {
    "tc21": [
        "animal", "beach", "buildings", "clouds", "flowers", "grass", "lake", "mountain", "ocean", "person",
        "plants", "reflection", "road", "rocks", "sky", "snow", "sunset", "tree", "vehicle", "water",
        "window",
    ],
    "tc10": [
        "animal", "buildings", "clouds", "grass", "lake", "person", "plants", "sky", "water", "window",
    ],
}
# fmt: on


@dataclass(frozen=True)
class NuswideOptions(PictureOptions):
    """``concepts``: the set of labels, a key of `CONCEPTS`."""

    concepts: str = "tc21"


def import_nuswide(src: Path, out: Path, options: NuswideOptions) -> ImportReport:
    """Import the rows of ``Imagelist.txt`` with one of the chosen concepts; ids are its photo numbers.

    Files are found by name, in any folder: ``Imagelist.txt``; ``Labels_CONCEPT.txt``, 0 or 1 per line; the
    tags in ``TagList1k.txt`` and ``AllTags1k.txt`` (0 or 1 per column), else ``All_Tags.txt`` (photo number,
    tags). Pictures are searched in ``src`` or in ``options.images``; a row may have none.

    Raises:
        LimbeckError: files are missing (all are named at once), or differ in length.
    """
    options.check_paths(src, out)
    source = Source(src)
    report = ImportReport(options.name or "nuswide")
    if options.concepts not in CONCEPTS:
        raise LimbeckError(
            f"--concepts {options.concepts}: choose {' or '.join(CONCEPTS)}", code="E-OPTION-CHOICE"
        )
    concepts = CONCEPTS[options.concepts]
    files = _files(source, concepts)
    listed = [line.strip().replace("\\", "/") for line in source.read_lines(files["Imagelist.txt"])]
    labels: list[list[str]] = [[] for _ in listed]
    for concept in concepts:
        name = files[f"Labels_{concept}.txt"]
        flags = source.read_lines(name)
        if len(flags) != len(listed) or {flag.strip() for flag in flags} - {"0", "1"}:
            raise LimbeckError(
                f"{source.path}: {name} must have {len(listed):,} lines of 0 or 1, as Imagelist.txt has",
                code="E-IMPORT-LAYOUT",
            )
        for row_labels, flag in zip(labels, flags, strict=True):
            if flag.strip() == "1":
                row_labels.append(concept)
    ids = [PurePosixPath(name).stem.rsplit("_", 1)[-1] for name in listed]
    tags = _tags(source, files, ids)
    keep = [at for at, row_labels in enumerate(labels) if row_labels]
    pictures = options.picture_source(source)
    found_pictures = find_pictures(
        pictures, [listed[at] for at in keep], report, keep_missing=options.keep_missing
    )
    columns: Columns = {
        "id": [ids[at] for at in keep],
        "image": found_pictures.found,
        "tags": [tags[at] for at in keep],
        "labels": [labels[at] for at in keep],
    }
    report.notes.append(
        f"{len(listed) - len(keep):,} of {len(listed):,} rows have none of the {len(concepts)} concepts"
    )
    without = sum(image is None for image in columns["image"])
    if without:
        report.notes.append(
            f"{without:,} rows without picture kept: features and tags are sufficient for hashing"
        )
    report.notes += source.reading_notes()
    counts = {"with tags": sum(map(bool, columns["tags"])), "labels": sum(map(len, columns["labels"]))}
    return write_pairs(out, columns, pictures, options, report, concepts, counts)


def _files(source: Source, concepts: list[str]) -> dict[str, str]:
    """Return the paths of all required files; an error names all missing ones."""
    needed = ["Imagelist.txt", *(f"Labels_{concept}.txt" for concept in concepts)]
    files = {name: source.find(name) for name in [*needed, "TagList1k.txt", "AllTags1k.txt", "All_Tags.txt"]}
    missing = [name for name in needed if files[name] is None]
    if (files["TagList1k.txt"] is None or files["AllTags1k.txt"] is None) and files["All_Tags.txt"] is None:
        missing.append("TagList1k.txt with AllTags1k.txt (or All_Tags.txt)")
    if missing:
        raise LimbeckError(
            f"{source.path}: {len(missing)} files of NUS-WIDE are missing: {', '.join(missing)}; unpack "
            "ImageList, Groundtruth and NUS_WID_Tags there",
            code="E-IMPORT-MISSING",
        )
    return {name: place for name, place in files.items() if place is not None}


def _tags(source: Source, files: dict[str, str], ids: list[str]) -> list[list[str]]:
    """Return the tags of each row of the image list."""
    if "TagList1k.txt" in files and "AllTags1k.txt" in files:
        words = [normalize_text(line) for line in source.read_lines(files["TagList1k.txt"])]
        rows = source.read_lines(files["AllTags1k.txt"])
        if len(rows) != len(ids):
            raise LimbeckError(
                f"{source.path}: AllTags1k.txt has {len(rows):,} rows, Imagelist.txt {len(ids):,}; "
                "restore both",
                code="E-IMPORT-CONFLICT",
            )
        tags = []
        for number, row in enumerate(rows, start=1):
            flags = row.split()
            if len(flags) != len(words) or set(flags) - {"0", "1"}:
                raise LimbeckError(
                    f"{source.path}: AllTags1k.txt line {number} is not {len(words)} zeros and ones",
                    code="E-IMPORT-LAYOUT",
                )
            tags.append([word for word, flag in zip(words, flags, strict=True) if flag == "1"])
        return tags
    split = (line.split(None, 1) for line in source.read_lines(files["All_Tags.txt"]) if line.strip())
    by_id = {parts[0]: parts[1].split() if len(parts) > 1 else [] for parts in split}
    return [[word for word in map(normalize_text, by_id.get(item, [])) if word] for item in ids]
