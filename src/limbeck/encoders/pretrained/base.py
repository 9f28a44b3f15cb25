"""What every format of pretrained dual encoders offers to the towers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import tokenizers
import torch
from torch import nn

from limbeck.encoders.lift_config import LOGIT_SCALE, SphereConfig
from limbeck.encoders.lifts import MODALITIES, Lift, SphereLift
from limbeck.encoders.sources import Place as Place
from limbeck.preprocess.resize import Preprocessing

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Reading:
    """How texts become token ids.

    Attributes:
        pad: the id that fills up short texts.
        context: the largest number of tokens of a text.
        whole: whether every text is filled up to ``context``, for networks that see the padding.
        lower: whether texts are lower-cased first.
        canonical: whether texts are also stripped of punctuation first, as in SigLIP's training.
    """

    pad: int
    context: int
    whole: bool = False
    lower: bool = False
    canonical: bool = False


@dataclass(frozen=True)
class ImagePart:
    """A network of `limbeck.encoders.networks` with its weights, and the preprocessing of its pictures."""

    model: nn.Module
    preprocessing: Preprocessing


@dataclass(frozen=True)
class TextPart:
    """A network of `limbeck.encoders.networks` with its weights, its tokenizer, and how it reads texts."""

    model: nn.Module
    tokenizer: tokenizers.Tokenizer
    reading: Reading | None = None


class Format(ABC):
    """One layout of a pretrained dual encoder on disk.

    Attributes:
        name: what the format is called in messages and docs.
        projects: whether its towers always end in the embedding; else a projection can be left out.
        gives: what its towers give, in the words of messages.
    """

    name: ClassVar[str]
    projects: ClassVar[bool] = True
    gives: ClassVar[str] = "embeddings"

    @abstractmethod
    def detect(self, path: Path) -> bool:
        """Return whether a folder (or file) is of this format, from file names and configuration only."""

    @abstractmethod
    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the image side."""

    @abstractmethod
    def text(self, place: Place, projection: bool) -> TextPart:
        """Load the text side."""

    @abstractmethod
    def logit_scale(self, place: Place) -> float | None:
        """Return the model's logit scale (not its logarithm), or None where its files do not hold it."""

    def lift(self, place: Place, dims: dict[str, int]) -> Lift:
        """Return the lift after towers of widths ``dims``: the towers' own embeddings on the sphere."""
        lift = sphere(dims["image"], dims, self.logit_scale(place))
        for modality in MODALITIES:
            lift.start_at_features(modality)
        return lift


def sphere(dim: int, dims: dict[str, int], scale: float | None) -> SphereLift:
    """Return an untrained sphere lift with a logit scale; without ``scale`` it has CLIP's initial one."""
    scale = LOGIT_SCALE if scale is None else scale
    return SphereLift(SphereConfig(dim=dim, logit_scale=scale, max_logit_scale=max(100.0, scale)), dims)


def check_grid(place: Place, side: int, patch: int, positions: int) -> None:
    """Refuse a ViT whose pictures have another number of patches than it has positions.

    A side need not be a multiple of the patch: the network leaves the rest of the picture out.
    """
    grid = side // patch
    if grid * grid != positions:
        raise place.refuse(
            f"pictures of {side} x {side} make {grid} x {grid} patches of {patch} pixels, but its weights "
            f"have {positions} positions; its files are of different models"
        )


def filled(model: Network, weights: dict[str, torch.Tensor], place: Place) -> Network:
    """Load weights into a network, all of them and no others, in float32.

    Raises:
        LimbeckError: a weight is missing, is left over, or has another shape.
    """
    wanted = model.state_dict()
    for name in sorted(wanted.keys() | weights.keys()):
        if name not in weights:
            raise place.refuse(
                f"its weights lack {name}; they are of another architecture, or incomplete", "E-MODEL-DAMAGED"
            )
        if name not in wanted:
            raise place.refuse(f"its weights hold {name}, which its architecture lacks; use another model")
        if weights[name].shape != wanted[name].shape:
            raise place.refuse(
                f"{name} is {tuple(weights[name].shape)}, not {tuple(wanted[name].shape)}; "
                "its weights are of another architecture"
            )
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model
