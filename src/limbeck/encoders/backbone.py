"""What every backbone promises."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from limbeck.encoders.config import Strict, identity
from limbeck.errors import LimbeckError
from limbeck.files import sha256_file, sha256_json
from limbeck.plugins import class_digest

if TYPE_CHECKING:
    from limbeck.encoders.lifts import Lift

Inputs = dict[str, torch.Tensor]


class Backbone(nn.Module, ABC):
    """One column of the pairs in, one float32 vector an item out.

    A backbone owns its preprocessing (`collate`), what it learns from the training items before the first
    step (`fit`), and the files that go with its weights (`save_assets`, `load_assets`).

    Attributes:
        reads: ``pixels``, ``features:NAME``, ``text`` or ``labels``: what its items are.
        dim: width of its output.
        patches: number of patches that `tokens` describes beside the whole item; 0 without patch features.
        tile: numbers of each patch in `tiles`.
        frozen: True when its output never changes after `fit`, so that it may be cached.
        pristine: True when its weights came from its `reference` and were stored nowhere else.
        model: the pretrained network, where there is one.
    """

    reads: str
    dim: int
    patches: int = 0
    tile: int = 0
    pristine: bool = False
    model: Any

    def __init__(self, config: Strict) -> None:
        super().__init__()
        self.config = config

    @property
    def frozen(self) -> bool:
        """True when nothing in it can be trained any more (parameter-free backbones always)."""
        return not any(p.requires_grad for p in self.parameters())

    @property
    def worth_caching(self) -> bool:
        """True when its output never changes and costs as much as a network's forward pass."""
        return self.frozen and any(True for _ in self.parameters())

    def fit(self, items: Sequence[Any], *, seed: int) -> None:
        """Learn vocabulary, statistics or tokenizer from the training items; nothing by default."""

    @abstractmethod
    def collate(self, items: Sequence[Any], generators: Sequence[torch.Generator] | None = None) -> Inputs:
        """Turn items into tensors with B rows; ``generators`` (one an item) switch augmentation on."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> torch.Tensor:
        """(B, dim) features of collated inputs."""

    def tokens(self, inputs: Inputs) -> torch.Tensor:
        """(B, 1 + K, dim): the whole item first (what `forward` gives), then its K patches."""
        raise self._no_patches()

    def attended(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """`tokens`, and how much the whole item looks at each patch, (B, K), at most 1 in sum."""
        raise self._no_patches()

    def tiles(self, inputs: Inputs) -> torch.Tensor:
        """(B, patches, tile): the raw numbers of each patch."""
        raise self._no_patches()

    def _no_patches(self) -> LimbeckError:
        kind = getattr(self.config, "kind", type(self).__name__)
        return LimbeckError(f"backbone '{kind}' has no patch features; take a tower on pixels (clip_image)")

    def check_query(self, item: Any) -> None:
        """Raise `LimbeckError` when a query cannot mean anything to this backbone."""

    @property
    def origin(self) -> Lift | None:
        """The lift of an earlier model whose embeddings `origin_embeddings` gives; None without one."""
        return None

    def origin_embeddings(self, output: torch.Tensor) -> torch.Tensor:
        """The embeddings of `origin` for what `forward` gave, (B, dim) to (B, origin.dim)."""
        raise LimbeckError(f"backbone '{getattr(self.config, 'kind', '?')}' reads no earlier model")

    def save_assets(self, folder: Path) -> None:
        """Write the files that weights alone do not carry (vocabulary, tokenizer)."""

    def load_assets(self, folder: Path) -> None:
        """Read what `save_assets` wrote; called before the weights are loaded."""

    def cache_key(self) -> str:
        """Hash of what, beside weights, decides its output: configuration and assets (tokenizer, sizes)."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_assets(Path(folder))
            files = {
                f.relative_to(folder).as_posix(): sha256_file(f)
                for f in sorted(Path(folder).rglob("*"))
                if f.is_file()
            }
        # Of a class of one's own its code decides, too.
        code = class_digest(type(self))
        own = [] if code is None else [code, type(self).__name__]
        return sha256_json([identity(self.config.model_dump(mode="json")), files, *own])

    def reference(self) -> str | None:
        """The ``source`` whose untouched weights may be stored by reference, or None."""
        return None

    def embeds(self) -> str | None:
        """The pretrained dual encoder (`reference`) whose own embeddings the output is, or None.

        A lift then starts from them (`limbeck.encoders.start`).
        """
        return None
