"""Labels as precomputed text features of their prompts, such as those of CLIP's text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import LabelFeaturesConfig
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.npy import open_npy
from limbeck.tables import read_list, warn_notes


class LabelFeaturesBackbone(Backbone):
    """Average the stored features of a row's classes, centre them and scale them to unit mean square.

    Items are lists of class names. This stands for a frozen text tower on one prompt per class, when only its
    outputs are available.
    """

    reads = "labels"
    config: LabelFeaturesConfig
    table: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: LabelFeaturesConfig) -> None:
        super().__init__(config)
        self._size([], 0)

    def _size(self, classes: list[str], dim: int) -> None:
        self.classes, self.dim = classes, dim
        self.index = {name: i for i, name in enumerate(classes)}
        self.register_buffer("table", torch.zeros(len(classes), dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, items: Sequence[Sequence[str]], *, seed: int) -> None:
        """Look up the classes that occur; compute mean and scale over the training rows.

        Raises:
            LimbeckError: a file is missing, the files do not fit each other, or a class has no features.
        """
        features, names = read_label_features(self.config)
        classes = sorted({name for own in items for name in own})
        rows = {name.casefold(): row for row, name in enumerate(names)}
        asked = {name: self.config.aliases.get(name, [name]) for name in classes}
        missing = [
            name for name, own in asked.items() if not own or any(a.casefold() not in rows for a in own)
        ]
        if missing:
            raise LimbeckError(
                f"{self.config.names}: there are no features for {', '.join(missing)}; name others with "
                f"aliases: {{{missing[0]}: [NAME, …]}}",
                code="E-FEATURES-MISSING",
            )
        table = [features[[rows[a.casefold()] for a in own]].mean(0) for own in asked.values()]
        self._size(classes, features.shape[1])
        self.table = torch.from_numpy(np.stack(table)).float()
        x = self(self.collate(items))
        self.mean = x.mean(0)
        self.scale = (x - self.mean).square().mean().clamp_min(1e-12).sqrt()

    def collate(
        self, items: Sequence[Sequence[str]], generators: Sequence[torch.Generator] | None = None
    ) -> Inputs:
        """Return (B, C) float32: 1/n for each of a row's n classes; a row without classes is zero."""
        x = torch.zeros(len(items), len(self.classes))
        for row, names in enumerate(items):
            known = [self.index[name] for name in names if name in self.index]
            for column in known:
                x[row, column] = 1 / len(known)
        return {"labels": x}

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) standardised features."""
        return (inputs["labels"] @ self.table - self.mean) / self.scale

    def save_assets(self, folder: Path) -> None:
        """Write the class names and the width; the features are part of the weights."""
        write_json(folder / "classes.json", {"classes": self.classes, "dim": self.dim})

    def load_assets(self, folder: Path) -> None:
        """Create the buffers at the stored sizes."""
        stored = read_json(folder / "classes.json")
        self._size(list(stored["classes"]), int(stored["dim"]))


def read_label_features(config: LabelFeaturesConfig) -> tuple[np.ndarray, list[str]]:
    """Read features (n, D) in float64 and their n names; rows have unit length if ``normalize`` is set.

    Raises:
        LimbeckError: a file is missing or has another shape or type, or a row is zero or not finite.
    """
    for file in (config.file, config.names):
        if not Path(file).is_file():
            raise LimbeckError(
                f"{file}: there is no such file; label_features needs file (.npy) and names (one per line)",
                code="E-PATH-MISSING",
            )
    x = np.asarray(open_npy(Path(config.file)))
    listed = read_list(config.names)
    warn_notes(listed.notes)
    names = listed.entries
    if x.ndim != 2 or x.dtype.kind not in "fiu" or len(x) != len(names):
        raise LimbeckError(
            f"{config.file}: array {x.shape} of {x.dtype}, but {config.names} has {len(names)} names; "
            "store an array of numbers (names, width)",
            code="E-ARRAY-SHAPE",
        )
    x = x.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not np.isfinite(x).all() or (config.normalize and not lengths.all()):
        row = int(np.argmax(~np.isfinite(x).all(1) | (lengths[:, 0] == 0)))
        raise LimbeckError(
            f"{config.file}: row {row} ({names[row]!r}) is zero or not finite; compute it again",
            code="E-ARRAY-VALUES",
        )
    return (x / lengths if config.normalize else x), names
