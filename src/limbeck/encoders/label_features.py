"""Labels as ready-made text features of their prompts, such as those of CLIP's text tower."""

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
    """Mean of the stored features of a row's classes, centred, of unit mean square; items are lists of names.

    What a frozen text tower says of one prompt a class, when only its outputs are at hand.
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
        """Look up the classes that occur; mean and scale over the training rows.

        Raises:
            LimbeckError: no such files, files that do not fit each other, classes without features.
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
                f"{self.config.names}: no features of {', '.join(missing)}; name stand-ins by aliases: "
                f"{{{missing[0]}: [NAME, …]}}"
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
        """(B, C) float32, each class's share of its row; a row without classes is zero."""
        x = torch.zeros(len(items), len(self.classes))
        for row, names in enumerate(items):
            known = [self.index[name] for name in names if name in self.index]
            for column in known:
                x[row, column] = 1 / len(known)
        return {"labels": x}

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """(B, dim)."""
        return (inputs["labels"] @ self.table - self.mean) / self.scale

    def save_assets(self, folder: Path) -> None:
        """The class names and the width; the features are weights."""
        write_json(folder / "classes.json", {"classes": self.classes, "dim": self.dim})

    def load_assets(self, folder: Path) -> None:
        """Size the buffers."""
        stored = read_json(folder / "classes.json")
        self._size(list(stored["classes"]), int(stored["dim"]))


def read_label_features(config: LabelFeaturesConfig) -> tuple[np.ndarray, list[str]]:
    """Features (n, D) in float64, of unit length if asked, and their n names."""
    for file in (config.file, config.names):
        if not Path(file).is_file():
            raise LimbeckError(
                f"{file}: no such file; label_features wants file (.npy) and names (a line each)"
            )
    x = np.asarray(open_npy(Path(config.file)))
    listed = read_list(config.names)
    warn_notes(listed.notes)
    names = listed.entries
    if x.ndim != 2 or x.dtype.kind not in "fiu" or len(x) != len(names):
        raise LimbeckError(
            f"{config.file}: array {x.shape} of {x.dtype}, {config.names} has {len(names)} names; "
            "give numbers (names, width)"
        )
    x = x.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not np.isfinite(x).all() or (config.normalize and not lengths.all()):
        row = int(np.argmax(~np.isfinite(x).all(1) | (lengths[:, 0] == 0)))
        raise LimbeckError(f"{config.file}: row {row} ({names[row]!r}) is zero or not finite; write it again")
    return (x / lengths if config.normalize else x), names
