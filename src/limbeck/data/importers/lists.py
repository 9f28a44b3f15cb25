"""Lists of deep hashing: train.txt, test.txt and database.txt with a picture and its 0/1 labels per line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limbeck.data.importers.base import ImportReport, PictureOptions, Source
from limbeck.data.importers.listed import Listed, write_listed
from limbeck.data.importers.mat import column_names
from limbeck.errors import LimbeckError

FILES = {"train.txt": "train", "test.txt": "test", "database.txt": "database"}


@dataclass(frozen=True)
class ListsOptions(PictureOptions):
    """``label_names``: a file with the name of each label column, one per line."""

    label_names: Path | None = None


def import_lists(src: Path, out: Path, options: ListsOptions) -> ImportReport:
    """Import the lists of ``swuxyj/DeepHash-pytorch`` and HashNet: ``PATH 0 1 0 …`` per line.

    The split column is train, test or database. Train is a part of the database there; a picture of both
    lists is one row, of train. ``database.txt`` may be missing.

    Raises:
        LimbeckError: a list is missing, a line has another number of labels than the first, a picture of the
            test list is in another one, or no picture is found.
    """
    options.check_paths(src, out)
    source = Source(src)
    report = ImportReport(options.name or src.stem)
    files = {name: source.find(name) for name in FILES}
    missing = [name for name in ("train.txt", "test.txt") if files[name] is None]
    if missing:
        raise LimbeckError(
            f"{src}: these lists are missing: {', '.join(missing)}; give the folder with train.txt, test.txt "
            "and database.txt",
            code="E-IMPORT-MISSING",
        )
    rows: dict[str, tuple[str, list[str]]] = {}
    width, again = None, 0
    for name, split in FILES.items():
        place = files[name]
        for number, line in enumerate(source.read_lines(place) if place else (), start=1):
            if not line.strip():
                continue
            path, *flags = line.split()
            width = len(flags) if width is None else width
            if len(flags) != width or not flags or set(flags) - {"0", "1"}:
                raise LimbeckError(
                    f"{src}: {place} line {number} is not a picture and {width or 'some'} labels of 0 or 1 "
                    f"(it has {len(flags)} values)",
                    code="E-IMPORT-LAYOUT",
                )
            other, known = rows.get(path, (split, flags))
            if path in rows and (other != "train" or split != "database"):
                raise LimbeckError(
                    f"{src}: {path} is in the lists of {other} and {split}; remove one of the two lines",
                    code="E-ID-REPEATED",
                )
            if known != flags:
                raise LimbeckError(
                    f"{src}: {path} has other labels in {place} than in train.txt; use lists of one release",
                    code="E-IMPORT-CONFLICT",
                )
            again += path in rows
            rows.setdefault(path, (split, flags))
    label_names = column_names(options.label_names, width or 0, "label")
    listed = [
        Listed(
            path, labels=[n for n, flag in zip(label_names, flags, strict=True) if flag == "1"], split=split
        )
        for path, (split, flags) in rows.items()
    ]
    if again:
        report.notes.append(f"{again:,} rows of the database are train rows, and are stored once")
    report.notes += source.reading_notes()
    return write_listed(listed, options.picture_source(source), out, options, report, label_names)
