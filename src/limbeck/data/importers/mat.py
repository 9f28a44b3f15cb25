"""The feature files of hashing papers: matrices of pictures, words and labels in MATLAB or HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.data.importers.base import Columns, ImportOptions, ImportReport
from limbeck.data.importers.variables import Variable, Variables
from limbeck.data.pairs import write_into
from limbeck.data.schema import PAIRS
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir
from limbeck.tables import read_list, warn_notes

FEATURES = "image_features.npy"
# Split → endings of its variables, such as I_tr, T_tr and L_tr.
PARTS = {"train": ("tr", "train"), "test": ("te", "test", "query"), "database": ("db", "re", "retrieval")}
MOST_CLASSES = 65_536
KINDS = {"images": "IXV", "texts": "TY", "labels": "L"}
WHOLE = {
    "images": ("XAll", "IAll", "images"),
    "texts": ("YAll", "TAll", "tags"),
    "labels": ("LAll", "labels"),
}


@dataclass(frozen=True)
class MatOptions(ImportOptions):
    """Options of an import of matrices.

    Attributes:
        variables: names of the variables of images, texts and labels, where they are not the usual ones;
            ``{}`` stands for the part, as in ``I_{}``.
        label_names: a file with the name of each label column, one per line.
        tag_names: a file with the word of each text column, one per line.
        texts: whether texts are read.
    """

    variables: tuple[str, ...] = ()
    label_names: Path | None = None
    tag_names: Path | None = None
    texts: bool = True


@dataclass(frozen=True)
class Matrices:
    """Rows of one split: images (N, D), texts (N, W) or None, labels (N, C) of 0 and 1."""

    images: np.ndarray
    texts: np.ndarray | None
    labels: np.ndarray


def import_mat(src: Path, out: Path, options: MatOptions) -> ImportReport:
    """Import matrices as rows with features, tags and labels; ``out`` also gets the features as one file.

    The layouts are I_tr, T_tr, L_tr (train) with I_te … (test) and perhaps I_db … (database), and XAll, YAll,
    LAll without splits; see `PARTS` and `WHOLE` for other names. Variables may be in several files of a
    folder. A train row that is also in the database is one row.

    Raises:
        LimbeckError: a variable is missing; shapes do not fit; labels are not 0 and 1; texts are not counts.
    """
    options.check_paths(src, out)
    if options.features:
        raise LimbeckError(
            "--features: the matrices are the features of this format; leave the option out",
            code="E-OPTION-UNUSED",
        )
    variables = Variables(src)
    report = ImportReport(options.name or src.stem)
    named = _named(variables, options)
    parts = {part: _matrices(variables, names, options.texts) for part, names in named.items()}
    _check_widths(parts, variables)
    splits = np.concatenate([np.full(len(own.labels), part) for part, own in parts.items()])
    images = np.concatenate([own.images for own in parts.values()])
    labels = np.concatenate([own.labels for own in parts.values()])
    given = [own.texts for own in parts.values() if own.texts is not None]
    texts = np.concatenate(given) if given else None
    keep = _without_copies(parts, report)
    images, labels, splits = images[keep], labels[keep], splits[keep]
    label_names = column_names(options.label_names, labels.shape[1], "label")
    columns: Columns = {
        "id": [str(row) for row in range(len(images))],
        "labels": _words(labels, label_names),
    }
    if texts is not None:
        columns["tags"] = _words(texts[keep], column_names(options.tag_names, texts.shape[1], "tag"))
    if len(parts) > 1:
        columns["split"] = splits.tolist()
    report.rows = len(images)
    report.counts = {part: int((splits == part).sum()) for part in parts} if len(parts) > 1 else {}
    report.counts |= {"features": images.shape[1], "classes": len(label_names)}
    meta = {
        "name": report.name,
        "label_names": label_names,
        "features": {"matrix": {"file": FEATURES, "rows": len(images)}},
    }
    with atomic_dir(out, replaces=PAIRS if options.replace else None) as aside:
        np.save(aside / FEATURES, images)
        write_into(aside, columns, meta)
    return report


def _named(variables: Variables, options: MatOptions) -> dict[str, dict[str, str]]:
    """Return the names of the variables by part and kind; a layout without splits has the one part all."""
    patterns = dict(zip(KINDS, options.variables, strict=False))
    kinds = [kind for kind in KINDS if options.texts or kind != "texts"]
    if patterns and not any("{}" in name for name in patterns.values()):
        return {"all": {kind: patterns[kind] for kind in kinds}}
    found: dict[str, dict[str, str]] = {}
    for part, endings in PARTS.items():
        for kind in kinds:
            forms = [patterns[kind]] if patterns else [f"{letter}_{{}}" for letter in KINDS[kind]]
            names = [form.format(ending) for form in forms for ending in endings]
            if name := next((name for name in names if name in variables), None):
                found.setdefault(part, {})[kind] = name
    if not found and not patterns:
        whole = {kind: next((name for name in WHOLE[kind] if name in variables), "") for kind in kinds}
        if any(whole.values()):
            found = {"all": whole}
    if not found:
        raise variables.missing("I_tr, T_tr, L_tr or XAll, YAll, LAll (or those of --variables)")
    for part, own in found.items():
        if lacking := [kind for kind in kinds if not own.get(kind)]:
            raise variables.missing(f"of {' and '.join(lacking)} for {part}")
    if "all" not in found and (lost := {"train", "test"} - set(found)):
        raise variables.missing(
            f"for {' and '.join(sorted(lost))}, such as {'I_tr' if 'train' in lost else 'I_te'}"
        )
    return found


def _matrices(variables: Variables, names: dict[str, str], texts: bool) -> Matrices:
    """Read one part with rows first; the number of rows is the size that all its matrices have."""
    read = {kind: variables[name] for kind, name in names.items()}
    for kind, own in read.items():
        if own.values.ndim != 2:
            raise LimbeckError(
                f"{own.file}: {names[kind]} has shape {own.values.shape}, expected rows of features; "
                "import pictures as files (limbeck data import lists)",
                code="E-ARRAY-SHAPE",
            )
    common = set.intersection(*(set(own.values.shape) for own in read.values()))
    if not common:
        shapes = ", ".join(f"{names[kind]} {own.values.shape}" for kind, own in read.items())
        raise LimbeckError(
            f"{variables.src}: {shapes} have no number of rows in common; use matrices of the same rows",
            code="E-ARRAY-ROWS",
        )
    rows = common.pop() if len(common) == 1 else None
    turned = {kind: _rows_first(own, rows) for kind, own in read.items()}
    return Matrices(
        _real(turned["images"], read["images"], names["images"]),
        _counts(turned["texts"], read["texts"], names["texts"]) if texts else None,
        _flags(turned["labels"], read["labels"], names["labels"]),
    )


def _rows_first(own: Variable, rows: int | None) -> np.ndarray:
    """Turn a matrix such that it has ``rows`` rows; where several sizes would do, by the kind of the file."""
    height, width = own.values.shape
    turn = own.turned if rows is None or height == width else height != rows
    return np.ascontiguousarray(own.values.T) if turn else own.values


def _real(images: np.ndarray, own: Variable, name: str) -> np.ndarray:
    """Return features as float32 (N, D)."""
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        found = images.astype(np.float32, copy=False)
    finite = np.isfinite(found).all(axis=1)
    if not finite.all():
        raise LimbeckError(
            f"{own.file}: {name}, row {int(np.argmin(finite))} is not finite in float32; "
            "compute the features again",
            code="E-ARRAY-VALUES",
        )
    return found


def _flags(labels: np.ndarray, own: Variable, name: str) -> np.ndarray:
    """Return labels as bool (N, C); one column of numbers 1 … C names the class of each row."""
    values = np.unique(labels)
    if labels.shape[1] == 1 and values.max(initial=0) > 1 and np.array_equal(values, values.astype(np.int64)):
        if values.max() > MOST_CLASSES:
            raise LimbeckError(
                f"{own.file}: {name} has class number {int(values.max()):,}, above the limit of "
                f"{MOST_CLASSES:,}; number the classes from 1",
                code="E-IMPORT-LAYOUT",
            )
        return np.asarray(labels == np.arange(1, int(values.max()) + 1))
    if not np.isin(values, (0, 1)).all():
        odd = values[~np.isin(values, (0, 1))][0]
        raise LimbeckError(
            f"{own.file}: {name} holds {odd:g}, expected labels of 0 and 1", code="E-IMPORT-LAYOUT"
        )
    return labels.astype(bool)


def _counts(texts: np.ndarray, own: Variable, name: str) -> np.ndarray:
    """Return which words each row has, bool (N, W)."""
    if (texts < 0).any() or (texts > 0).mean() > 0.5:
        raise LimbeckError(
            f"{own.file}: {name} is no bag of words (most entries are not 0, or some are negative); limbeck "
            "encodes texts itself: leave them out with --no-texts",
            code="E-IMPORT-LAYOUT",
        )
    return np.asarray(texts > 0)


def _check_widths(parts: dict[str, Matrices], variables: Variables) -> None:
    first = next(iter(parts))
    for kind in KINDS:
        widths = {part: own.shape[1] for part, m in parts.items() if (own := getattr(m, kind)) is not None}
        for part, width in widths.items():
            if width != widths[first]:
                raise LimbeckError(
                    f"{variables.src}: {kind} have {widths[first]} columns in {first}, {width} in {part}; "
                    "use files of one data set",
                    code="E-IMPORT-CONFLICT",
                )


def _without_copies(parts: dict[str, Matrices], report: ImportReport) -> np.ndarray:
    """Return bool (N,): all rows but those of the database that are also train rows, each once."""

    def keys(own: Matrices) -> list[bytes]:
        return [a.tobytes() + b.tobytes() for a, b in zip(own.images, own.labels, strict=True)]

    keep = np.ones(sum(len(own.labels) for own in parts.values()), bool)
    if "database" in parts:
        train, copies = keys(parts["train"]), 0
        left = dict.fromkeys(train, 0)
        for key in train:
            left[key] += 1
        start = len(keep) - len(parts["database"].labels)
        for row, key in enumerate(keys(parts["database"]), start=start):
            if left.get(key):
                left[key] -= 1
                keep[row] = False
                copies += 1
        if copies:
            report.notes.append(f"{copies:,} rows of the database are train rows, and are stored once")
    return keep


def column_names(file: Path | None, width: int, what: str) -> list[str]:
    """Return the names of columns from a file, one per line, or ``label1``, ``label2``, … without one."""
    if file is None:
        return [f"{what}{column}" for column in range(1, width + 1)]
    listed = read_list(file)
    warn_notes(listed.notes)
    names = [line.strip() for line in listed.lines if line.strip()]
    if len(names) != width or len(set(names)) != width:
        raise LimbeckError(
            f"{file}: has {len(set(names))} different names for {width} columns; give one per column",
            code="E-ARRAY-ROWS",
        )
    return names


def _words(flags: np.ndarray, names: Sequence[str]) -> list[list[str]]:
    return [[names[column] for column in np.flatnonzero(row).tolist()] for row in flags]
