"""The interface that every backbone implements."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from limbeck.encoders.config import AugmentConfig, RunConfig, Strict
from limbeck.encoders.hub import weights_digest
from limbeck.encoders.identity import identity
from limbeck.encoders.transforms import random_crop
from limbeck.errors import LimbeckError
from limbeck.files import sha256_file, sha256_json
from limbeck.plugins import class_digest
from limbeck.preprocess import Preprocessor
from limbeck.preprocess.pixels import PixelPreprocessor

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.encoders.features import BagBackbone
    from limbeck.encoders.lifts import Lift

Inputs = dict[str, torch.Tensor]


class Backbone(nn.Module, ABC):
    """Map one column of the pairs to one float32 vector per item.

    A backbone owns its preprocessing (`collate`), what it learns from the training items before the first
    step (`fit`), and the files that belong to its weights (`save_assets`, `load_assets`).

    Attributes:
        reads: what its items are: ``pixels``, ``features:NAME``, ``text`` or ``labels``.
        dim: the width of its output.
        patches: the number of patches that `tokens` returns after the whole item; 0 without patch features.
        maskable: True when the input ``keep`` chooses the patches that run (see `encoders.masking`).
        tile: the number of raw values per patch in `tiles`.
        frozen: True when its output never changes after `fit`, so that it may be cached.
        pristine: True when its weights came from its `reference` and were stored nowhere else.
        model: the pretrained network, where there is one.
    """

    reads: str
    dim: int
    patches: int = 0
    maskable: bool = False
    tile: int = 0
    pristine: bool = False
    model: Any

    def __init__(self, config: Strict) -> None:
        super().__init__()
        self.config = config

    @property
    def frozen(self) -> bool:
        """True when nothing in it can be trained (always for backbones without parameters)."""
        return not any(p.requires_grad for p in self.parameters())

    @property
    def pretrained(self) -> bool:
        """True when its weights, or those of a part of it, come from a source or an earlier model."""
        parts = [part for part in self.modules() if isinstance(part, Backbone)]
        return any(isinstance(b.config, RunConfig) or b.reference() is not None for b in parts)

    @property
    def worth_caching(self) -> bool:
        """True when its output never changes and costs as much as a forward pass of a network."""
        return self.frozen and any(True for _ in self.parameters())

    def fit(self, items: Sequence[Any], *, seed: int) -> None:
        """Learn a vocabulary, statistics or a tokenizer from the training items; by default do nothing."""

    @property
    def bag(self) -> BagBackbone | None:
        """The bag of words whose counts are its first outputs, or None."""
        return None

    @property
    def beside_bag(self) -> Backbone | None:
        """The backbone of the outputs behind those of `bag`; None where there are none."""
        return None

    @property
    def preprocessor(self) -> Preprocessor | None:
        """The part of `collate` that needs no torch, for export; None where only `collate` exists."""
        return None

    def collate(self, items: Sequence[Any], generators: Sequence[torch.Generator] | None = None) -> Inputs:
        """Turn items into tensors with B rows; ``generators`` (one per item) switch augmentation on."""
        preprocess = self.preprocessor
        if preprocess is None:
            raise NotImplementedError(f"{type(self).__name__}: define collate or preprocessor")
        return {name: torch.from_numpy(array) for name, array in preprocess(items).items()}

    @abstractmethod
    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return the (B, dim) features of collated inputs."""

    def tokens(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + K, dim): the whole item first (the output of `forward`), then its K patches."""
        raise self._no_patches()

    def attended(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `tokens` and the attention of the whole item to each patch, (B, K), with row sums of at most
        1."""
        raise self._no_patches()

    def tiles(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, patches, tile): the raw values of each patch."""
        raise self._no_patches()

    def _no_patches(self) -> LimbeckError:
        kind = getattr(self.config, "kind", type(self).__name__)
        return LimbeckError(
            f"backbone '{kind}' has no patch features; use clip_image or efficientnet_lite",
            code="E-MODEL-LACKS",
        )

    def check_query(self, item: Any) -> None:
        """Raise `LimbeckError` when this backbone knows nothing of a query (no word of it, for example)."""
        if self.preprocessor is not None:
            self.preprocessor.check_query(item)

    @property
    def origin(self) -> Lift | None:
        """The lift of an earlier model whose embeddings `origin_embeddings` returns; None without one."""
        return None

    def origin_embeddings(self, output: torch.Tensor) -> torch.Tensor:
        """Map the output of `forward` to the embeddings of `origin`: (B, dim) to (B, origin.dim)."""
        raise LimbeckError(
            f"backbone '{getattr(self.config, 'kind', '?')}' has no earlier model", code="E-MODEL-LACKS"
        )

    def save_assets(self, folder: Path) -> None:
        """Write the files that the weights do not contain (vocabulary, tokenizer)."""

    def load_assets(self, folder: Path) -> None:
        """Read the files of `save_assets`; called before the weights are loaded."""

    def cache_key(self) -> str:
        """Return the hash of what decides the output apart from the weights: configuration and assets."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_assets(Path(folder))
            files = {
                f.relative_to(folder).as_posix(): sha256_file(f)
                for f in sorted(Path(folder).rglob("*"))
                if f.is_file()
            }
        # The output of a user-defined class also depends on its code.
        code = class_digest(type(self))
        plugin = [] if code is None else [code, type(self).__name__]
        return sha256_json([identity(self.config.model_dump(mode="json")), files, *plugin])

    def digest(self) -> str:
        """Return the hash of all weights and buffers."""
        return weights_digest(self)

    def network_digest(self) -> str:
        """Return the hash of the weights of `model`."""
        return weights_digest(self.model)

    def reference(self) -> str | None:
        """Return the ``source`` whose unchanged weights may be stored by reference, or None."""
        return None

    def from_source(self, source: str) -> nn.Module:
        """Load `model` with the weights of a source that is on this machine; nothing is downloaded."""
        raise LimbeckError(
            f"backbone '{getattr(self.config, 'kind', '?')}' has no source", code="E-MODEL-LACKS"
        )

    def embeds(self) -> str | None:
        """Return the pretrained dual encoder (`reference`) whose embeddings the output is, or None.

        A lift can then start from these embeddings (`limbeck.encoders.start`).
        """
        return None


class PixelBackbone(Backbone):
    """A tower that reads squares of ``image_size`` pixels.

    Attributes:
        image_size: the side of the square.
        augment: how training pictures are varied; None leaves them as they are.
    """

    reads = "pixels"
    image_size: int
    augment: AugmentConfig | None = None

    @property
    @abstractmethod
    def preprocessor(self) -> PixelPreprocessor:
        """What makes normalised squares of pictures."""

    def collate(
        self, items: Sequence[Image.Image], generators: Sequence[torch.Generator] | None = None
    ) -> Inputs:
        """Return (B, 3, S, S) pixels; crop at random when generators are given and ``augment`` is set."""
        if generators is None or self.augment is None:
            return super().collate(items)
        pixels = self.preprocessor
        crops = [
            random_crop(image, self.image_size, self.augment, generator, pixels.square)
            for image, generator in zip(items, generators, strict=True)
        ]
        return {"pixels": torch.from_numpy(np.stack([pixels.normalized(crop) for crop in crops]))}

    def _checked(self, inputs: Inputs) -> Inputs:
        size = tuple(inputs["pixels"].shape[-2:])
        if size != (self.image_size, self.image_size):
            raise LimbeckError(
                f"pixels: {size[0]} x {size[1]}, but the tower reads squares of {self.image_size}",
                code="E-ARRAY-SHAPE",
            )
        return inputs
