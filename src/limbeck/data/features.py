"""Feature files: ``.npy`` matrices beside a pairs table, memory-mapped, with a scale for integer storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.npy import open_npy


@dataclass(frozen=True)
class FeatureFile:
    """One memory-mapped feature matrix (M, D) of any real type; a feature is ``value * scale``."""

    name: str
    path: Path
    scale: float
    matrix: np.ndarray

    @property
    def count(self) -> int:
        """The number of rows M."""
        return int(self.matrix.shape[0])

    def check_count(self, expected: int, what: str) -> None:
        """Raise `LimbeckError` for a row count other than ``expected``, with file and both counts."""
        if self.count != expected:
            raise LimbeckError(
                f"{self.path}: features {self.name!r} have {self.count} rows, {what} has {expected}; "
                "use the features file of this data set",
                code="E-ARRAY-ROWS",
            )

    def check_rows(self, rows: np.ndarray) -> None:
        """Raise `LimbeckError` for feature rows outside the file; −1 means "no features"."""
        lowest, largest = int(rows.min(initial=-1)), int(rows.max(initial=-1))
        if largest >= self.count or lowest < -1:
            row = lowest if lowest < -1 else largest
            raise LimbeckError(
                f"{self.path}: feature_row {row} is out of range; the file has {self.count} rows",
                code="E-ROW-RANGE",
            )

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return rows as float32 (n, D); the scale is applied after the conversion, because integers would
        overflow.

        Raises:
            LimbeckError: a row is out of range, or a value is NaN or infinity.
        """
        self.check_rows(rows)
        out = np.asarray(self.matrix[rows], dtype=np.float32)
        if self.scale != 1.0:
            out *= np.float32(self.scale)
        if not np.isfinite(out).all():
            bad = int(rows[int(np.argmin(np.isfinite(out).all(axis=1)))])
            raise LimbeckError(
                f"{self.path}: row {bad} contains NaN or infinity; compute the features again",
                code="E-ARRAY-VALUES",
            )
        return out


def load_feature_file(name: str, path: Path, scale: float = 1.0) -> FeatureFile:
    """Map a feature file into memory.

    Raises:
        LimbeckError: the file is missing, truncated, no ``.npy`` or no 2-D real matrix, or the scale is bad.
    """
    if not path.is_file():
        raise LimbeckError(
            f"{path}: there is no such feature file (features {name!r}); restore it or import again",
            code="E-FEATURES-MISSING",
        )
    matrix = open_npy(path)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise LimbeckError(
            f"{path}: features must be a matrix of numbers (rows, D), found {matrix.dtype} {matrix.shape}",
            code="E-ARRAY-SHAPE",
        )
    if not np.isfinite(scale) or scale <= 0:
        raise LimbeckError(
            f"features {name!r}: scale must be a positive number, found {scale}", code="E-OPTION-RANGE"
        )
    return FeatureFile(name, path, float(scale), matrix)


def open_feature_files(
    directory: Path, features: Mapping[str, Mapping[str, str | float]]
) -> dict[str, FeatureFile]:
    """Map every feature file named in ``pairs.json``; relative paths start at ``directory``.

    Raises:
        LimbeckError: a file cannot be mapped, or its row count differs from that of the import.
    """
    files = {}
    for name, entry in features.items():
        if not isinstance(entry, Mapping) or "file" not in entry:
            raise LimbeckError(
                f"{directory / 'pairs.json'}: features {name!r} have no file; import again",
                code="E-FEATURES-MISSING",
            )
        file = load_feature_file(name, directory / str(entry["file"]), float(entry.get("scale", 1.0)))
        if entry.get("rows") is not None:
            file.check_count(int(entry["rows"]), "pairs.json")
        files[name] = file
    return files
