"""What caption sets share: pictures that lists or JSON files name, turned into a pairs directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from limbeck.data.importers.base import ImportOptions, ImportReport, Source, attach_features, note_passed
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text

# Other words for the usual names of splits. "restval" is the rest of COCO's val, which everyone trains on.
_SPLITS = {"dev": "val", "valid": "val", "validation": "val", "restval": "train"}


@dataclass
class Listed:
    """A picture as a caption set names it (with its folder, where given), and what is said of it."""

    name: str
    captions: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    split: str | None = None


def split_name(word: str) -> str:
    """Name of a split in the split column: train, val, test; any other word stays as it is."""
    return _SPLITS.get(word, word)


def picture_source(source: Source, options: ImportOptions) -> Source:
    """Where the pictures lie: ``--images`` if given, else beside the lists."""
    return source if options.images is None else Source(options.images)


def some(names: Sequence[str], count: int = 3) -> str:
    """The first few names, for a note."""
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")


def write_listed(
    listed: list[Listed],
    pictures: Source,
    out: Path,
    options: ImportOptions,
    report: ImportReport,
    label_names: Sequence[str] = (),
) -> ImportReport:
    """Find each picture, report what does not fit together, write the pairs directory.

    Ids are file names without suffix (with it, where two would be equal). Rows without a picture are dropped
    unless ``options.keep_missing``; pictures that nothing names are left out; both are counted and named.

    Raises:
        LimbeckError: not one picture is there, features that do not fit, ``out`` exists.
    """
    images = _locate([item.name for item in listed], pictures, report)
    missing = [item.name for item, image in zip(listed, images, strict=True) if image is None]
    if len(missing) == len(listed) and not options.keep_missing:
        raise LimbeckError(
            f"{pictures.path}: not one of the {len(listed):,} pictures is there (first: {missing[0]}); "
            "give their folder or zip with --images"
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
        report.notes.append(f"{empty:,} empty captions left out")
    columns: dict[str, list[Any]] = {
        "id": _ids([item.name for item, _ in rows]),
        "image": [image for _, image in rows],
        "captions": shown,
        "labels": [item.labels for item, _ in rows],
    }
    splits = [item.split for item, _ in rows]
    if any(splits):
        columns["split"] = splits
    features = attach_features(columns, options.features, report)
    report.rows = len(rows)
    report.counts |= {
        "with picture": len(listed) - len(missing),
        "captions": sum(map(len, shown)),
        **({"labels": sum(map(len, columns["labels"]))} if label_names else {}),
        **{split: count for split, count in Counter(splits).items() if split is not None},
    }
    if any(splits) and None in splits:
        without = [name for name, split in zip(columns["id"], splits, strict=True) if split is None]
        report.notes.append(f"{len(without):,} rows are in no split: {some(without)}")
    note_passed(pictures, report)
    meta = {
        "name": report.name,
        "label_names": list(label_names),
        "media": pictures.media if len(missing) < len(listed) else None,
        "features": features,
    }
    Pairs.write(out, columns, meta, replace=options.replace)
    return report


def _locate(names: list[str], pictures: Source, report: ImportReport) -> list[str | None]:
    """Each name's picture in the source: at that path, below another folder, or by file name alone."""
    at: dict[str, list[str]] = {}
    for path in sorted(pictures.pictures, key=lambda path: (len(path), path)):
        at.setdefault(PurePosixPath(path).name, []).append(path)
    found: list[str | None] = []
    for name in names:
        paths = at.get(PurePosixPath(name).name, [])
        exact = [path for path in paths if path == name or path.endswith("/" + name)]
        found.append(next(iter(exact or paths), None))
    used = set(found)
    unused = [path for paths in at.values() for path in paths if path not in used]
    if unused:
        report.notes.append(f"{len(unused):,} pictures without a row left out: {some(sorted(unused))}")
    return found


def _ids(names: list[str]) -> list[str]:
    files = [PurePosixPath(name) for name in names]
    count = Counter(file.stem for file in files)
    return [file.stem if count[file.stem] == 1 else file.name for file in files]
