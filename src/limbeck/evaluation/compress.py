"""Make a model with codes from a model without, fitted to some pictures and chosen on others (ours)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from limbeck.encoders.config import BinaryConfig, RunConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lifts import MODALITIES, BinaryLift
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.evaluation.compress_features import Features, held_out, read_collection
from limbeck.evaluation.ranking_kept import Agreement, agreement, ranked

# Tried in this order; the map of "itq, texts" is fitted to texts too, that of the others to pictures alone.
CANDIDATES = ("itq", "itq, texts", "pca-random", "random", "learned")


@dataclasses.dataclass(frozen=True)
class Result:
    """One candidate: what its codes keep, by kind of query ("text", "image"), with and without asymmetry."""

    candidate: str
    bits: int
    codes: dict[str, Agreement]
    asymmetric: dict[str, Agreement]

    @property
    def score(self) -> float:
        """The mean overlap@10 over kinds of queries and both searches, by which the best is chosen."""
        return (_overlap(self.codes) + _overlap(self.asymmetric)) / 2

    @property
    def prefers_asymmetric(self) -> bool:
        """Whether the asymmetric search keeps more of the float ranking, so that it becomes the default."""
        return _overlap(self.asymmetric) > _overlap(self.codes)


def check_compressible(model: DualEncoder, name: str) -> None:
    """Refuse a model that has codes already."""
    if model.space.storage == "codes":
        raise LimbeckError(
            f"{name}: already has codes of {model.lift.dim} bits; give the model that it was made from",
            code="E-SPACE-OTHER",
        )


def candidates(features: Features, bits: int) -> list[str]:
    """Return the names of the candidates for codes of this length."""
    if bits > features.image.shape[1]:  # at most one direction of greatest variance per dimension
        return ["random", "learned"]
    few = len(features.text) < 2
    return [name for name in CANDIDATES if not (few and name == "itq, texts")]


def fitted(features: Features, name: str, bits: int, seed: int) -> BinaryLift:
    """Fit one candidate's lift."""
    rotation = name.partition(",")[0]
    config = BinaryConfig.model_validate({"bits": bits, "rotation": rotation})
    width = features.image.shape[1]
    lift = BinaryLift(config, {"image": width, "text": width})
    text = features.text
    if name not in ("itq, texts", "learned"):
        text = text.mean(0, keepdims=True)  # centred it is 0, so that the map is fitted to pictures alone
    with torch.enable_grad():
        lift.fit({"image": torch.tensor(features.image), "text": torch.tensor(text)}, seed)
    return lift


def measured(features: Features, name: str, lift: BinaryLift) -> Result:
    """Measure what a lift's codes keep of the float ranking of the held-out queries."""
    signs = _signs(_numbers(lift, features.database, "image"))
    found: list[dict[str, Agreement]] = []
    for asymmetric in (False, True):
        kept = {}
        for modality, held in features.held.items():
            numbers = _numbers(lift, features.queries[modality], modality)
            scores = (numbers if asymmetric else _signs(numbers)) @ signs.T
            scores[np.isneginf(held.scores)] = -np.inf
            kept[modality] = agreement(held, ranked(scores))
        found.append(kept)
    return Result(name, lift.dim, *found)


def of_floats(features: Features) -> dict[str, Agreement]:
    """Return recall and mean average precision of the floats themselves, by kind of query."""
    return {name: agreement(held, held.ranking) for name, held in features.held.items()}


def with_lift(model: DualEncoder, lift: BinaryLift, *, asymmetric: bool) -> DualEncoder:
    """Put a lift on a model's embeddings; the result holds the whole model."""
    lift.config = lift.config.model_copy(update={"asymmetric": asymmetric})
    lift.asymmetric = asymmetric
    towers = {}
    for modality in MODALITIES:
        config = TowerConfig(backbone=RunConfig(path="floats"), freeze_backbone=True)
        tower = Tower(config, modality)
        assert isinstance(tower.backbone, RunBackbone)
        tower.backbone.load_from(model)
        tower.build_trunk()
        towers[modality] = tower
    return DualEncoder(towers["image"], towers["text"], lift).eval().requires_grad_(False)


@dataclasses.dataclass(frozen=True)
class Compression:
    """A model, and its embeddings of a collection, split for fitting and for measuring."""

    encoder: DualEncoder
    features: Features
    text_kind: str
    seed: int

    @classmethod
    def of(
        cls,
        encoder: DualEncoder,
        name: str,
        source: Path,
        seed: int = 0,
        on_skip: Callable[[str, str], object] | None = None,
    ) -> Compression:
        """Encode a collection with a model and split it.

        Args:
            encoder: a model without codes.
            name: its path, for errors.
            source: folder of pictures, pairs directory, table, or encoded set.
            seed: draws the split and the maps.
            on_skip: called with id and reason of each picture that cannot be read.

        Raises:
            LimbeckError: the model has codes, or as `read_collection`.
        """
        check_compressible(encoder, name)
        collection = read_collection(encoder, source, on_skip)
        features = held_out(encoder, collection, seed)
        return cls(encoder, features, collection.text_kind, seed)

    @property
    def float_bytes(self) -> int:
        """The bytes of one item without codes."""
        return 4 * self.features.image.shape[1]

    def try_candidates(self, bits: int) -> list[tuple[Result, BinaryLift]]:
        """Fit and measure every candidate of a length; the best comes first."""
        tried = []
        for name in candidates(self.features, bits):
            lift = fitted(self.features, name, bits, self.seed)
            tried.append((measured(self.features, name, lift), lift))
        return sorted(tried, key=lambda one: -one[0].score)

    def model(self, result: Result, lift: BinaryLift) -> DualEncoder:
        """Return the model whose codes come from a lift, with the better search as the default."""
        return with_lift(self.encoder, lift, asymmetric=result.prefers_asymmetric)

    def counts(self) -> dict[str, int]:
        """Return the numbers of pictures and texts that are fitted to, and of queries and ranked pictures."""
        one = self.features
        asked = {f"{kind} queries": len(rows) for kind, rows in one.queries.items()}
        return {"pictures": len(one.image), "texts": len(one.text), **asked, "ranked": len(one.database)}


def _overlap(kept: dict[str, Agreement]) -> float:
    return float(np.mean([one.overlap for one in kept.values()]))


@torch.no_grad()
def _numbers(lift: BinaryLift, points: np.ndarray, modality: str) -> np.ndarray:
    return lift(torch.tensor(points), modality).numpy()


def _signs(numbers: np.ndarray) -> np.ndarray:
    return np.where(numbers >= 0, np.float32(1), np.float32(-1))
