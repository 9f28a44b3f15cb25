"""Feature towers on precomputed image features, bags of words and label vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import BagConfig, FeaturesConfig, MultiHotConfig
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.preprocess import Reads
from limbeck.preprocess.features import FeaturePreprocessor
from limbeck.preprocess.text import BagPreprocessor
from limbeck.preprocess.words import RULE, check_rule, words


class FeatureBackbone(Backbone):
    """Standardise precomputed features: log1p, centring, PCA, division by one global scale.

    One scale for all directions keeps their relative variance, because whitening costs accuracy.
    """

    config: FeaturesConfig
    mean: torch.Tensor
    projection: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: FeaturesConfig, input_dim: int = 0) -> None:
        super().__init__(config)
        self.log1p, self.pca = config.log1p, config.pca
        self.reads = str(Reads("features", config.name))
        self._size(input_dim)

    def _size(self, input_dim: int) -> None:
        self.dim = min(self.pca, input_dim) if self.pca else input_dim
        self.register_buffer("mean", torch.zeros(input_dim))
        self.register_buffer("scale", torch.ones(()))
        width = self.dim if self.pca else 0
        self.register_buffer("projection", torch.zeros(input_dim, width))

    @property
    def worth_caching(self) -> bool:
        """True with ``pca``: its matrix product at every step is as large as that of the trunk."""
        return bool(self.pca)

    def fit(self, items: Sequence[np.ndarray], *, seed: int) -> None:
        """Compute mean, principal directions and scale from (N, D) training features.

        Raises:
            LimbeckError: log1p is set and a feature is negative.
        """
        x = np.asarray(items, np.float64)
        self._size(x.shape[1])
        if self.log1p:
            if x.min() < 0:
                raise LimbeckError(
                    f"{self.reads}: log1p needs features >= 0, one is {x.min():.3g}; set log1p: false",
                    code="E-ARRAY-VALUES",
                )
            x = np.log1p(x)
        self.mean = torch.from_numpy(x.mean(0)).float()
        x = x - x.mean(0)
        if self.pca:
            _, vectors = np.linalg.eigh(x.T @ x / len(x))
            directions = vectors[:, ::-1][:, : self.dim]
            # The sign of an eigenvector is arbitrary: fix it, so that every machine fits the same model.
            directions = directions * np.sign(directions[np.abs(directions).argmax(0), np.arange(self.dim)])
            self.projection = torch.from_numpy(directions.copy()).float()
            x = x @ directions
        self.scale = torch.tensor(float(np.sqrt((x**2).mean())) or 1.0)

    @property
    def preprocessor(self) -> FeaturePreprocessor:
        """Stacks rows of the input's width."""
        return FeaturePreprocessor(self.config.name, len(self.mean), self.log1p)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) standardised features."""
        x = inputs["features"]
        x = (torch.log1p(x) if self.log1p else x) - self.mean
        return (x @ self.projection if self.pca else x) / self.scale

    def save_assets(self, folder: Path) -> None:
        """Write the input width, so that the buffers can be sized before loading."""
        write_json(folder / "features.json", {"input_dim": len(self.mean)})

    def load_assets(self, folder: Path) -> None:
        """Create the buffers at the stored width."""
        self._size(int(read_json(folder / "features.json")["input_dim"]))


class BagBackbone(Backbone):
    """Count the words known from training, L2-normalised, centred, scaled to unit mean square."""

    reads = "text"
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config)
        self.vocabulary_size, self.min_count = config.vocabulary_size, config.min_count
        self.rule = RULE
        self._set_vocabulary([])

    def _set_vocabulary(self, vocabulary: list[str]) -> None:
        self.vocabulary = vocabulary
        self._bag = BagPreprocessor(vocabulary, self.rule)
        self.dim = len(vocabulary)
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, items: Sequence[str], *, seed: int) -> None:
        """Choose the vocabulary by frequency (ties in alphabetical order) and compute mean and scale."""
        counts = Counter(word for text in items for word in set(words(text, self.rule)))
        kept = sorted((w for w, n in counts.items() if n >= self.min_count), key=lambda w: (-counts[w], w))
        if not kept:
            raise LimbeckError(
                "text: no training text contains any word; check the text column of the recipe",
                code="E-DATA-TEXT",
            )
        self._set_vocabulary(kept[: self.vocabulary_size])
        total, known = torch.zeros(self.dim), 0.0
        for start in range(0, len(items), 4096):
            counted = self.collate(items[start : start + 4096])["counts"]
            total += counted.sum(0)
            known += float(counted.square().sum())
        self.mean = total / len(items)
        variance = known / len(items) - float(self.mean.square().sum())
        self.scale = torch.tensor(max(variance, 1e-12) / self.dim).sqrt()

    @property
    def bag(self) -> BagBackbone:
        """Itself."""
        return self

    @property
    def preprocessor(self) -> BagPreprocessor:
        """Counts the words of the vocabulary."""
        return self._bag

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, vocabulary) standardised counts."""
        return (inputs["counts"] - self.mean) / self.scale

    def save_assets(self, folder: Path) -> None:
        """Write the vocabulary and the rule that splits a text into words."""
        with_rule = {"rule": self.rule, "words": self.vocabulary}
        write_json(folder / "vocabulary.json", self.vocabulary if self.rule == 1 else with_rule)

    def load_assets(self, folder: Path) -> None:
        """Read the vocabulary; a plain list follows the first rule."""
        stored = read_json(folder / "vocabulary.json")
        self.rule = int(stored["rule"]) if isinstance(stored, dict) else 1
        check_rule(self.rule, folder / "vocabulary.json")
        self._set_vocabulary(list(stored["words"] if isinstance(stored, dict) else stored))


class MultiHotBackbone(Backbone):
    """Standardise multi-hot label vectors (the label network's input in SSAH); items are lists of class
    names."""

    reads = "labels"
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: MultiHotConfig) -> None:
        super().__init__(config)
        self._set_classes([])

    def _set_classes(self, classes: list[str]) -> None:
        self.classes = classes
        self.index = {name: i for i, name in enumerate(classes)}
        self.dim = len(classes)
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, items: Sequence[Sequence[str]], *, seed: int) -> None:
        """Collect the classes that occur, in alphabetical order, and compute their mean and scale."""
        self._set_classes(sorted({name for names in items for name in names}))
        x = self.collate(items)["labels"]
        self.mean = x.mean(0)
        self.scale = (x - self.mean).square().mean().clamp_min(1e-12).sqrt()

    def collate(
        self, items: Sequence[Sequence[str]], generators: Sequence[torch.Generator] | None = None
    ) -> Inputs:
        """Return (B, C) float32 of 0 and 1."""
        x = torch.zeros(len(items), self.dim)
        for row, names in enumerate(items):
            for name in names:
                if name in self.index:
                    x[row, self.index[name]] = 1
        return {"labels": x}

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, C) standardised label vectors."""
        return (inputs["labels"] - self.mean) / self.scale

    def save_assets(self, folder: Path) -> None:
        """Write the class names."""
        write_json(folder / "classes.json", self.classes)

    def load_assets(self, folder: Path) -> None:
        """Read the class names."""
        self._set_classes(list(read_json(folder / "classes.json")))
