"""An encoder for tests of an index: it is asked a number and gives that row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limbeck.errors import LimbeckError
from limbeck.spaces import Space


@dataclasses.dataclass
class NumberEncoder:
    """Texts say the row of ``points``; a picture's width does."""

    points: np.ndarray
    space: Space
    space_id: str = "numbers"
    image_input: str = "pixels"
    text_input: str = "text"
    asymmetric: bool = False

    @property
    def inputs(self) -> dict[str, str]:
        return {"text": "text", "image": self.image_input}

    def check_query(self, text: str) -> None:
        if not text.isdigit():
            raise LimbeckError(f"text {text!r}: the model knows none of its words", code="E-QUERY-WORDS")

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return self.points[[int(text) for text in texts]]

    def encode_image(self, images: Sequence[Image.Image]) -> np.ndarray:
        return self.points[[image.size[0] for image in images]]

    def encode(self, modality: str, items: Sequence[Any], output: str) -> list[np.ndarray]:
        assert output == "points"
        return [self.encode_text(items) if modality == "text" else self.encode_image(items)]

    def bundle(self, folder: Path) -> None:
        """Nothing that could be opened: queries use this object."""
        (folder / "model.json").write_text("{}")
