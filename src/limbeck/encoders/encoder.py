"""What encodes items and queries, with torch or without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from limbeck.onnx.encoder import Output
from limbeck.preprocess import Arrays
from limbeck.preprocess.base import Item
from limbeck.spaces import Kept, Space


class Encoder(Protocol):
    """The part that a `DualEncoder` and its ONNX graphs (`OnnxEncoder`) share."""

    @property
    def space(self) -> Space:
        """The space of the points."""
        ...

    @property
    def space_id(self) -> str:
        """The fingerprint of image tower, image head, lift and space; equal ids mean comparable points."""
        ...

    @property
    def kept(self) -> Kept:
        """The kind of the output ``floats``."""
        ...

    @property
    def inputs(self) -> dict[str, str]:
        """The inputs by modality: ``text``; ``pixels`` or ``features:NAME``."""
        ...

    @property
    def asymmetric(self) -> bool:
        """Whether an index compares its queries' embeddings, not their codes, by default."""
        ...

    def check_query(self, text: str) -> None:
        """Raise `LimbeckError` when no word of a text query is known."""
        ...

    def collate(self, modality: str, items: Sequence[Item]) -> Arrays:
        """Turn opened pictures, feature rows or texts into arrays (B, …); threads may call it."""
        ...

    def compute(self, modality: str, arrays: Arrays, *outputs: Output) -> list[np.ndarray]:
        """Compute one array (B, width) per output from collated arrays."""
        ...

    def encode(
        self, modality: str, items: Sequence[Item] | np.ndarray, *outputs: Output, batch_size: int = 256
    ) -> list[np.ndarray]:
        """Encode pictures or their paths, feature rows or texts; return one array (N, width) per output."""
        ...

    def bundle(self, folder: Path) -> None:
        """Write all that encodes queries into an empty directory."""
        ...
