"""The pairs table: pictures (or their features), captions, tags and labels of one data set.

A pairs directory consists of ``pairs.parquet`` and ``pairs.json``; docs/design.md §3.3 describes the layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from limbeck.data import schema as cols
from limbeck.data.features import FeatureFile, open_feature_files
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir, read_json, sha256_file, sha256_json, write_json
from limbeck.names import show
from limbeck.typed import typed

if TYPE_CHECKING:
    from PIL import Image

Rows = np.ndarray | Sequence[int]


class Pairs:
    """A read-only view of a pairs directory; lists become Python objects only on access.

    Attributes:
        path: the directory.
        name: the name of the data set.
        label_names: the C label names, in column order.
        meta: ``pairs.json`` as read.
    """

    def __init__(self, path: Path, table: pa.Table, meta: dict[str, Any]) -> None:
        self.path = path
        self.table = table
        self.meta = meta
        self.name: str = meta["name"]
        self.label_names: list[str] = list(meta["label_names"])

    @classmethod
    def open(cls, path: str | Path, *, strict: bool = True) -> Pairs:
        """Open a pairs directory; ``strict`` also checks label names and feature files now.

        Raises:
            LimbeckError: it is not a pairs directory, its table is damaged or changed, ids repeat, a label
                name is unknown, or feature files are missing or do not fit.
        """
        path = Path(path)
        if not (path / cols.META).is_file():
            fault = (
                "there is no such directory"
                if not path.is_dir()
                else f"is not a pairs directory (no {cols.META})"
            )
            raise LimbeckError(
                f"{path}: {fault}; make one with `limbeck data import`", code="E-PAIRS-MISSING"
            )
        meta = _check_meta(path / cols.META)
        table = cols.read_table(path / cols.TABLE)
        if sha256_file(path / cols.TABLE) != meta.get("sha256"):
            raise LimbeckError(
                f"{path / cols.TABLE}: checksum differs from {cols.META}; import the data again",
                code="E-PAIRS-DAMAGED",
            )
        pairs = cls(path, table, meta)
        if strict:
            pairs._check_labels()
            for file in pairs.feature_files.values():
                file.check_rows(pairs.feature_rows)
        return pairs

    @staticmethod
    def write(
        path: str | Path,
        columns: Mapping[str, Sequence[object]],
        meta: Mapping[str, Any],
        *,
        replace: bool = False,
    ) -> None:
        """Write a pairs directory, completely or not at all.

        ``columns`` are rows by column name (see docs/design.md §3.3); only ``id`` is required. ``meta`` has
        ``name``, and where they apply ``label_names``, ``media``, ``features``.

        Raises:
            LimbeckError: columns are bad; ``path`` exists and ``replace`` is false, or it is no pairs
                directory, or it contains other files.
        """
        with atomic_dir(path, replaces=cols.PAIRS if replace else None) as aside:
            write_into(aside, columns, meta)

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"Pairs({str(self.path)!r}, name={self.name!r}, {len(self)} rows)"

    @cached_property
    def ids(self) -> list[str]:
        """All ids in row order."""
        return self.table.column("id").to_pylist()

    def find(self, ids: Sequence[str]) -> np.ndarray:
        """Return the row numbers int64 (n,) of ids, in their order; −1 for an unknown id."""
        found = pc.index_in(pa.array(list(ids), type=pa.string()), value_set=self.table.column("id"))
        return np.asarray(pc.fill_null(found, -1)).astype(np.int64)

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Return the row numbers int64 (n,) of ids, in their order; unknown ids raise a `LimbeckError`."""
        found = self.find(ids)
        unknown = np.flatnonzero(found < 0)
        if len(unknown):
            first = ", ".join(repr(ids[at]) for at in unknown[:3].tolist())
            raise LimbeckError(
                f"{self.path}: lacks {len(unknown)} of {len(found)} ids (first: {first})", code="E-ID-UNKNOWN"
            )
        return found

    @cached_property
    def split_names(self) -> list[str]:
        """The values of the split column, sorted; empty when there is no such column."""
        if "split" not in self.table.column_names:
            return []
        return sorted(pc.unique(self.table.column("split").drop_null()).to_pylist())

    def split_rows(self, name: str) -> np.ndarray:
        """Return the row numbers int64 (n,) of a split; an unknown one raises a `LimbeckError`."""
        if name not in self.split_names:
            known, fix = ", ".join(self.split_names), "rename one, or choose a protocol that names them"
            known = f"{known}: {fix}" if known else "none: the table has no split column"
            raise LimbeckError(
                f"{self.path}: has no split {name!r}; there are {known}", code="E-SPLIT-UNKNOWN"
            )
        mask = pc.fill_null(pc.equal(self.table.column("split"), name), False)
        return np.flatnonzero(np.asarray(mask)).astype(np.int64)

    # ---------------------------------------------------------------- texts and labels
    @cached_property
    def captions(self) -> list[list[str]]:
        """The captions of every row."""
        return cols.take_lists(self.table, "captions")

    @cached_property
    def tags(self) -> list[list[str]]:
        """The tags of every row."""
        return cols.take_lists(self.table, "tags")

    @cached_property
    def labels_text(self) -> list[list[str]]:
        """The label names of every row."""
        return cols.take_lists(self.table, "labels")

    @cached_property
    def class_paths(self) -> list[list[str]]:
        """The class path of every row, root first; empty lists when the table has none."""
        if "path" not in self.table.column_names:
            return [[] for _ in range(len(self))]
        return cols.take_lists(self.table, "path")

    def texts(self, column: str, rows: Rows | None = None) -> list[list[str]]:
        """Return one list column (``captions``, ``tags``, ``labels``) of some rows only."""
        return cols.take_lists(self.table, column, None if rows is None else self._row_array(rows))

    def labels(self, rows: Rows | None = None) -> np.ndarray:
        """Return multi-hot labels, bool (n, C), columns in the order of `label_names`; by default of all
        rows."""
        chosen = np.arange(len(self)) if rows is None else self._row_array(rows)
        offsets, codes = self._label_codes
        counts = offsets[chosen + 1] - offsets[chosen]
        out = np.zeros((len(chosen), len(self.label_names)), dtype=bool)
        target = np.repeat(np.arange(len(chosen)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        column = codes[np.repeat(offsets[chosen], counts) + within]
        known = column >= 0
        out[target[known], column[known]] = True
        return out

    def require_labels(self, rows: Rows | None = None) -> np.ndarray:
        """Return `labels`; a `LimbeckError` refuses rows without any label."""
        if not self.label_names:
            raise LimbeckError(f"{self.path}: has no labels; import it with labels", code="E-DATA-LABELS")
        labels = self.labels(rows)
        if not labels.any():
            raise LimbeckError(
                f"{self.path}: the {len(labels)} rows in use have no labels; "
                "import labels or choose another protocol",
                code="E-DATA-LABELS",
            )
        return labels

    def require_texts(self, column: str, rows: Rows | None = None) -> list[list[str]]:
        """Return `texts`; rows without any text raise a `LimbeckError`."""
        texts = self.texts(column, rows)
        if not any(any(item.strip() for item in items) for items in texts):
            raise LimbeckError(
                f"{self.path}: column {column!r} is empty in all {len(texts)} rows in use; "
                f"import {column} or choose another protocol",
                code="E-DATA-TEXT",
            )
        return texts

    def image_path(self, row: int) -> str | None:
        """Return the path of a row's picture inside the media, or None."""
        return self.table.column("image")[int(row)].as_py()

    @property
    def media(self) -> tuple[str, Path] | None:
        """The kind ("folder", "zip" or "shards") and path of the pictures, or None."""
        media = self.meta.get("media")
        return None if media is None else (media["kind"], self.path / media["root"])

    def open_image(self, row: int, size: int | None = None) -> Image.Image:
        """Open the picture of a row, RGB and upright.

        With ``size`` JPEGs may be decoded at a smaller scale, with both sides at least ``size`` pixels.

        Raises:
            LimbeckError: there is no media or no picture, or the picture cannot be read.
        """
        from limbeck.pictures import open_picture

        kind, root, inside = self._image_place(row)
        if kind == "zip":
            return open_picture(inside, archive=root, size=size)
        return open_picture(root / inside, size=size)

    def image_bytes(self, row: int) -> bytes:
        """Return the encoded picture of a row as stored; a missing one raises a `LimbeckError`."""
        from limbeck.pictures import picture_bytes

        kind, root, inside = self._image_place(row)
        return picture_bytes(inside, root) if kind == "zip" else picture_bytes(root / inside)

    def _image_place(self, row: int) -> tuple[str, Path, str]:
        from limbeck.pictures import Kind, PictureError, parse_place

        media, inside = self.media, self.image_path(row)
        if media is None or inside is None:
            what = "the data set has no media" if media is None else f"{self.ids[row]!r} has no picture"
            message = f"{self.path}: {what}; use features or import it with pictures"
            raise PictureError(message, Kind.MISSING)
        # A foreign table must not make limbeck read files outside its picture folder.
        place = parse_place(inside) if media[0] == "shards" else None
        file = Path(inside if place is None else place.shard)
        if media[0] != "zip" and (file.is_absolute() or ".." in file.parts):
            message = f"{self.path}: picture {show(inside)} is outside {media[1]}; import the data again"
            raise PictureError(message, Kind.MISSING)
        return (*media, inside)

    @cached_property
    def feature_files(self) -> dict[str, FeatureFile]:
        """The feature files by name, memory-mapped; a missing or damaged one raises a `LimbeckError`."""
        return open_feature_files(self.path, self.meta.get("features") or {})

    def features(self, name: str, rows: Rows | None = None) -> np.ndarray:
        """Return stored image features, float32 (n, D), with the scale applied.

        Raises:
            LimbeckError: the name is unknown, a row has no features or is out of range, or a value is not
                finite.
        """
        if name not in self.feature_files:
            known = ", ".join(self.feature_files) or "none"
            raise LimbeckError(
                f"{self.path}: there are no features {name!r}; there are {known}", code="E-FEATURES-MISSING"
            )
        chosen = np.arange(len(self)) if rows is None else self._row_array(rows)
        wanted = self.feature_rows[chosen]
        if (wanted < 0).any():
            first = self.ids[int(chosen[np.argmax(wanted < 0)])]
            raise LimbeckError(
                f"{self.path}: {int((wanted < 0).sum())} rows have no features {name!r} (first: {first!r}); "
                "import again with features of every row, or remove these rows from the protocol's splits",
                code="E-FEATURES-MISSING",
            )
        return self.feature_files[name].read(wanted)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 over the table, the label order, and names, sizes and scales of feature files."""
        files = {
            name: [file.path.name, file.path.stat().st_size, file.scale]
            for name, file in self.feature_files.items()
        }
        return sha256_json({"table": self.meta["sha256"], "labels": self.label_names, "features": files})

    def _row_array(self, rows: Rows) -> np.ndarray:
        out = np.asarray(rows, dtype=np.int64).reshape(-1)
        if out.size and (out.min() < 0 or out.max() >= len(self)):
            raise LimbeckError(f"{self.path}: has {len(self)} rows, not row {out.max()}", code="E-ROW-RANGE")
        return out

    @cached_property
    def feature_rows(self) -> np.ndarray:
        """The row of each pair in the feature files, int64 (N,); −1 where it has none."""
        return np.asarray(pc.fill_null(self.table.column("feature_row"), -1)).astype(np.int64)

    @cached_property
    def _label_codes(self) -> tuple[np.ndarray, np.ndarray]:
        offsets, values = cols.list_parts(self.table, "labels")
        names = pa.array(self.label_names, type=pa.string())
        codes = pc.fill_null(pc.index_in(values, value_set=names), -1)
        return offsets, np.asarray(codes).astype(np.int64)

    @cached_property
    def unknown_labels(self) -> list[str]:
        """The label names of rows that are missing from `label_names`, sorted."""
        _, values = cols.list_parts(self.table, "labels")
        return sorted(set(pc.unique(values).to_pylist()) - set(self.label_names) - {None})

    def _check_labels(self) -> None:
        if self.unknown_labels:
            first = ", ".join(self.unknown_labels[:5])
            raise LimbeckError(
                f"{self.path}: label_names lacks {first}; import again", code="E-LABEL-UNKNOWN"
            )


def write_into(directory: Path, columns: Mapping[str, Sequence[object]], meta: Mapping[str, Any]) -> None:
    """Write table and JSON into an existing directory (one under construction by `atomic_dir`).

    With ``features`` in ``meta`` and no column ``feature_row``, row i of the table uses row i of the files.

    Raises:
        LimbeckError: columns are bad, label names repeat, or feature files do not fit the table.
    """
    columns = dict(columns)
    label_names = list(meta.get("label_names") or [])
    if len(set(label_names)) != len(label_names):
        raise LimbeckError("pairs: label_names contains a name twice; remove one", code="E-ID-REPEATED")
    features = {name: dict(entry) for name, entry in (meta.get("features") or {}).items()}
    files = open_feature_files(directory, features)
    if files and "feature_row" not in columns:
        count = len(columns.get("id", []))
        for file in files.values():
            file.check_count(count, "the table")
        columns["feature_row"] = list(range(count))
    table = cols.build_table(columns)
    for name, file in files.items():
        file.check_rows(np.asarray(pc.fill_null(table.column("feature_row"), -1)))
        features[name].setdefault("rows", file.count)
    pq.write_table(table, directory / cols.TABLE, compression="zstd")
    done = {
        "format": cols.FORMAT,
        "name": str(meta.get("name") or "pairs"),
        "label_names": label_names,
        "media": meta.get("media"),
        "features": features,
        "sha256": sha256_file(directory / cols.TABLE),
    }
    extra = {key: value for key, value in meta.items() if key not in done}
    write_json(directory / cols.META, done | extra)
    Pairs(directory, table, done)._check_labels()


@dataclass(frozen=True)
class _Media:
    kind: str
    root: str


@dataclass(frozen=True)
class _Features:
    file: str
    scale: float = 1.0
    rows: int | None = None


@dataclass(frozen=True)
class _Meta:
    name: str
    label_names: list[str]
    media: _Media | None = None
    features: dict[str, _Features] | None = None
    sha256: str | None = None


def _check_meta(file: Path) -> dict[str, Any]:
    meta = read_json(file)
    if not isinstance(meta, dict) or meta.get("format") != cols.FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else None
        raise LimbeckError(
            f"{file}: format is {found!r}, but this version reads {cols.FORMAT!r}; import the data again",
            code="E-FILE-VERSION",
        )
    known = typed(_Meta, meta, file, "import the data again", more=True)
    if known.media is not None and (
        known.media.kind not in ("folder", "zip", "shards") or not known.media.root
    ):
        raise LimbeckError(
            f"{file}: media is neither folder, zip nor shards; import again", code="E-PAIRS-DAMAGED"
        )
    return meta
