"""The interface of all preprocessors, and their form on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np

from limbeck.typed import Json

if TYPE_CHECKING:
    from PIL import Image

Arrays = dict[str, np.ndarray]
Item: TypeAlias = "str | Sequence[str] | np.ndarray | Image.Image | tuple[Item, ...]"
"""One item of a modality: a text, a list of labels, a feature row, a picture, or a set of them."""


class Reads(NamedTuple):
    """What a tower's items are.

    Attributes:
        kind: ``pixels``, ``features``, ``text`` or ``labels``.
        name: the name of the features, else empty.
    """

    kind: str
    name: str = ""

    @classmethod
    def of(cls, text: str) -> Reads:
        """Parse the stored form: ``features:NAME``, or another kind alone."""
        kind, _, name = text.partition(":")
        return cls(kind, name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.kind == "features" else self.kind


class Preprocessor(Protocol):
    """Turn items of one kind into named arrays with one row per item."""

    kind: ClassVar[str]

    def __call__(self, items: Sequence[Any]) -> Arrays:
        """Return the arrays (B, …) of B items."""
        ...

    def check_query(self, item: Any) -> None:
        """Raise `LimbeckError` when nothing in the item is known."""
        ...

    def save(self, folder: Path) -> dict[str, Json]:
        """Write the files that it needs into ``folder`` and return its settings as JSON."""
        ...


def preprocessor_from_json(settings: dict[str, Any], folder: Path) -> Preprocessor:
    """Rebuild a preprocessor from the settings that `Preprocessor.save` returned and from its files.

    Raises:
        LimbeckError: the files are missing or damaged.
        KeyError: the settings are incomplete.
    """
    # Imported here, so that a text query does not load what pictures need.
    if settings["kind"] == "pixels":
        from limbeck.preprocess.pixels import PixelPreprocessor

        return PixelPreprocessor.load(settings)
    from limbeck.preprocess.features import FeaturePreprocessor
    from limbeck.preprocess.text import load_text

    if settings["kind"] == "features":
        return FeaturePreprocessor(str(settings["name"]), int(settings["width"]), bool(settings["log1p"]))
    return load_text(settings, folder)
