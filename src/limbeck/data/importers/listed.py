"""The common part of caption sets: from pictures in lists or JSON files to a pairs directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limbeck.data.importers.base import Columns, ImportOptions, ImportReport, Source, write_pairs
from limbeck.data.importers.locate import find_pictures, note_unused, some, unique_ids
from limbeck.errors import LimbeckError
from limbeck.names import clean_path, show
from limbeck.pictures import normalize_text

# Synonyms of split names. "restval" is the rest of COCO's val, which is commonly part of train.
_SPLITS = {"dev": "val", "valid": "val", "validation": "val", "restval": "train"}


@dataclass
class Listed:
    """A picture as a caption set names it (with its folder, where given), and its texts."""

    name: str
    captions: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    split: str | None = None


def split_name(word: str) -> str:
    """Return the name of a split for the split column: train, val, test; other words are kept."""
    return _SPLITS.get(word, word)


def write_listed(
    listed: list[Listed],
    pictures: Source,
    out: Path,
    options: ImportOptions,
    report: ImportReport,
    label_names: Sequence[str] = (),
) -> ImportReport:
    """Find each picture, report mismatches, and write the pairs directory.

    Ids are file names without suffix, or more of the path where two would be equal (`unique_ids`). Rows
    without a picture are dropped unless ``options.keep_missing``. Pictures that nothing names are skipped.
    The report counts and names both.

    Raises:
        LimbeckError: a picture is listed twice, a name fits several pictures, no picture is found, features
            do not fit, or ``out`` exists.
    """
    _refuse_repeated(listed)
    names = [item.name for item in listed]
    resolved = find_pictures(pictures, names, report, keep_missing=options.keep_missing)
    images = resolved.found
    note_unused(pictures, images, report)
    missing = [item.name for item, image in zip(listed, images, strict=True) if image is None]
    if len(missing) == len(listed) and not options.keep_missing:
        raise LimbeckError(
            f"{pictures.path}: none of the {len(listed):,} pictures was found "
            f"(first: {resolved.why(missing[0])}); "
            "name their folder or zip with --images",
            code="E-PICTURE-MISSING",
        )
    if missing:
        done = "kept" if options.keep_missing else "dropped (--keep-missing keeps them)"
        report.notes.append(f"{len(missing):,} rows without a picture {done}: {some(missing)}")
    rows = [
        (item, image)
        for item, image in zip(listed, images, strict=True)
        if image is not None or options.keep_missing
    ]
    shown = [[text for text in map(normalize_text, item.captions) if text] for item, _ in rows]
    empty = sum(len(item.captions) for item, _ in rows) - sum(map(len, shown))
    if empty:
        report.notes.append(f"{empty:,} empty captions were dropped")
    columns: Columns = {
        "id": unique_ids([clean_path(item.name) for item, _ in rows]),
        "image": [image for _, image in rows],
        "captions": shown,
        "labels": [item.labels for item, _ in rows],
    }
    splits = [item.split for item, _ in rows]
    if any(splits):
        columns["split"] = splits
    counts = {
        "with picture": len(listed) - len(missing),
        "captions": sum(map(len, shown)),
        **({"labels": sum(map(len, columns["labels"]))} if label_names else {}),
        **{split: count for split, count in Counter(splits).items() if split is not None},
    }
    if any(splits) and None in splits:
        without = [name for name, split in zip(columns["id"], splits, strict=True) if split is None]
        report.notes.append(f"{len(without):,} rows are in no split: {some(without)}")
    return write_pairs(out, columns, pictures, options, report, label_names, counts)


def _refuse_repeated(listed: Sequence[Listed]) -> None:
    first: dict[str, Listed] = {}
    for item in listed:
        other = first.setdefault(clean_path(item.name), item)
        if other is not item:
            splits = f" (splits {other.split} and {item.split})" if other.split != item.split else ""
            raise LimbeckError(
                f"{show(item.name)} is listed twice{splits}; remove one of the two entries",
                code="E-ID-REPEATED",
            )
