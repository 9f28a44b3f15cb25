"""Feature rows that were computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.preprocess.base import Arrays
from limbeck.typed import Json


@dataclass(frozen=True)
class FeaturePreprocessor:
    """Stack feature rows of ``width`` numbers; ``log1p`` needs numbers of at least 0."""

    name: str
    width: int
    log1p: bool
    kind: ClassVar[str] = "features"

    def __call__(self, items: Sequence[np.ndarray]) -> Arrays:
        """Return ``features`` (B, width) float32.

        Raises:
            LimbeckError: the rows have another width, or log1p is set and a number is negative.
        """
        rows = np.ascontiguousarray(np.stack(list(items)), np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise LimbeckError(
                f"features:{self.name}: rows have shape {rows.shape}; give features of width {self.width}",
                code="E-ARRAY-SHAPE",
            )
        if self.log1p and len(rows) and rows.min() < 0:
            raise LimbeckError(
                f"features:{self.name}: log1p needs features >= 0, one is {float(rows.min()):.3g}; "
                "correct the file",
                code="E-ARRAY-VALUES",
            )
        return {"features": rows}

    def check_query(self, item: np.ndarray) -> None:
        """Accept every row."""

    def save(self, folder: Path) -> dict[str, Json]:
        """Return the settings; there are no files."""
        return {"kind": self.kind, **asdict(self)}
