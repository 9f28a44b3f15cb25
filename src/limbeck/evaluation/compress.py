"""Make a model with codes from a model without, fitted to some pictures and chosen on others (ours)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch

from limbeck.encoders.config import RunConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import BinaryConfig, Rotation
from limbeck.encoders.lifts import MODALITIES, BinaryLift
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.evaluation.compress_features import Features, held_out, read_collection
from limbeck.evaluation.compress_labels import label_metric
from limbeck.evaluation.ranking_kept import Agreement, agreement, ranked

LABEL_WEIGHTS = (0.1, 0.3)  # tried where there are labels
LABEL_GAIN = 0.01  # of mean average precision, below which labels do not help
LABEL_KEEPS = 0.9  # share of the score without labels, below which labels cost too much


class LabelUse(StrEnum):
    """Whether codes are fitted to labels: where they help, always, or never."""

    AUTO, ALWAYS, NEVER = "auto", "always", "never"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to codes.

    Attributes:
        name: the name that people read.
        rotation: the kind of map.
        reads_texts: whether the map is fitted to texts too, and not to their mean alone.
        label_weight: how much labels count beside the features (`label_metric`); 0 leaves them out.
    """

    name: str
    rotation: Rotation
    reads_texts: bool = False
    label_weight: float = 0.0


CANDIDATES = (
    Candidate("itq", "itq"),
    Candidate("itq, texts", "itq", reads_texts=True),
    Candidate("pca-random", "pca-random"),
    Candidate("random", "random"),
    Candidate("learned", "learned", reads_texts=True),
    *(
        Candidate(f"learned, labels {weight:g}", "learned", reads_texts=True, label_weight=weight)
        for weight in LABEL_WEIGHTS
    ),
)


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
    def precision(self) -> float:
        """The mean of the mAP by labels over kinds of queries and both searches; 0 without labels."""
        found = [one.mean_precision for one in (*self.codes.values(), *self.asymmetric.values())]
        return float(np.mean([value for value in found if value is not None] or [0.0]))

    def worth(self, plain: Result) -> bool:
        """Return whether labels gain enough precision at a small enough loss of score, against ``plain``."""
        gains = self.precision >= plain.precision + LABEL_GAIN
        return gains and self.score >= LABEL_KEEPS * plain.score

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


def candidates(features: Features, bits: int) -> list[Candidate]:
    """Return the candidates for codes of this length."""
    wide = bits > features.image.shape[1]  # at most one direction of greatest variance per dimension
    few = len(features.text) < 2
    return [
        one
        for one in CANDIDATES
        if not (wide and one.rotation not in ("random", "learned"))
        and not (few and one.name == "itq, texts")
        and not (features.labels is None and one.label_weight)
    ]


def fitted(features: Features, candidate: Candidate, bits: int, seed: int) -> BinaryLift:
    """Fit one candidate's lift."""
    width = features.image.shape[1]
    lift = BinaryLift(BinaryConfig(bits=bits, rotation=candidate.rotation), {"image": width, "text": width})
    text = features.text
    if not candidate.reads_texts:
        text = text.mean(0, keepdims=True)  # centred it is 0, so that the map is fitted to pictures alone
    rows = {"image": features.image, "text": text}
    if not candidate.label_weight:
        with torch.enable_grad():
            lift.fit({name: torch.tensor(one) for name, one in rows.items()}, seed)
        return lift
    assert features.labels is not None
    means = {name: one.mean(0) for name, one in rows.items()}
    centred = {name: one - means[name] for name, one in rows.items()}
    metric = label_metric(centred["image"], centred["text"], features.labels, candidate.label_weight)
    root, back = (torch.tensor(one, dtype=torch.float32) for one in (metric, np.linalg.inv(metric)))
    with torch.enable_grad():
        lift.fit({name: torch.tensor(one) @ root for name, one in centred.items()}, seed)
    lift.projection = root @ lift.projection
    for name, mean in means.items():
        setattr(lift, f"mean_{name}", torch.tensor(mean) + getattr(lift, f"mean_{name}") @ back)
    return lift


def measured(features: Features, candidate: Candidate, lift: BinaryLift) -> Result:
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
    return Result(candidate.name, lift.dim, *found)


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
class Tried:
    """A candidate, what was measured, and its fitted lift."""

    candidate: Candidate
    result: Result
    lift: BinaryLift


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

    def try_candidates(self, bits: int, labels: LabelUse = LabelUse.AUTO) -> list[Tried]:
        """Fit and measure every candidate of a length; the best comes first.

        The best has the highest `Result.score`. The most precise candidate that reads labels comes
        before it if `Result.worth` says so, or in any case with `LabelUse.ALWAYS`.
        """
        tried = []
        known = None if labels is LabelUse.NEVER else self.features.labels
        features = dataclasses.replace(self.features, labels=known)
        for candidate in candidates(features, bits):
            lift = fitted(features, candidate, bits, self.seed)
            tried.append(Tried(candidate, measured(features, candidate, lift), lift))
        tried.sort(key=lambda one: -one.result.score)
        best = next(one for one in tried if not one.candidate.label_weight)
        labelled = [
            one
            for one in tried
            if one.candidate.label_weight and (labels is LabelUse.ALWAYS or one.result.worth(best.result))
        ]
        first = max(labelled, key=lambda one: one.result.precision, default=best)
        return [first, *(one for one in tried if one is not first)]

    def model(self, tried: Tried) -> DualEncoder:
        """Return the model of a candidate's codes, with the better search as the default."""
        return with_lift(self.encoder, tried.lift, asymmetric=tried.result.prefers_asymmetric)

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
