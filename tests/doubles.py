"""Encoders of the tests that have `encode_image` and `encode_text` get `encode` from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Encodes:
    """`DualEncoder.encode` in terms of the two methods of the test's encoder."""

    def encode(
        self, modality: str, items: Sequence[Any], *outputs: str, batch_size: int = 256
    ) -> list[np.ndarray]:
        ask = getattr(self, f"encode_{modality}")
        return [ask(items, output=output, batch_size=batch_size) for output in outputs]
