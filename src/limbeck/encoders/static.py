"""A text tower without a network: the weighted mean of a table's rows, one row per token, and a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
from torch import nn

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import StaticConfig
from limbeck.encoders.tokenizer import PAD, load_tokenizer, train_tokenizer
from limbeck.errors import LimbeckError
from limbeck.preprocess.text import TokenPreprocessor, read_tokenizer


@dataclass(frozen=True)
class StaticTable:
    """A fitted table.

    Attributes:
        rows: the rows of the tokens (V, width).
        weight: their weights (V,).
        bias: the output of a text without tokens (dim,).
        map: the map from rows to outputs (dim, width); None where they have one width.
    """

    rows: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    map: np.ndarray | None


SMOOTH = 1e-2
"""The parameter a of the weights a / (a + p), p the share of a token (SIF; Arora et al. 2017)."""


def token_weights(counts: np.ndarray) -> np.ndarray:
    """Return SIF weights (V,) of tokens with these counts; 0 for tokens that never occur."""
    shares = counts / max(1, counts.sum())
    return np.where(counts > 0, SMOOTH / (SMOOTH + shares), 0).astype(np.float32)


class StaticBackbone(Backbone):
    """Map a text to bias + map(Σ w·row / Σ w) over its tokens; the order of words does not matter.

    The weights ``w`` are fixed. A table of ``storage: float32`` is trained by a recipe; one of ``int8`` has a
    scale per row, is never trained, and comes from `limbeck.training.distil_text`.
    """

    reads = "text"
    config: StaticConfig
    weight: torch.Tensor
    table: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.dim, self.int8 = config.dim, config.storage == "int8"
        self.width = config.rank or config.dim

    def use(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Take a tokenizer and make an empty table for its tokens."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, size = tokenizer, tokenizer.get_vocab_size()
        self.register_buffer("weight", torch.zeros(size))
        if self.int8:
            self.register_buffer("table", torch.zeros(size, self.width, dtype=torch.int8))
            self.register_buffer("scale", torch.ones(size))
        else:
            self.table = nn.Parameter(torch.zeros(size, self.width))
        self.bias = nn.Parameter(torch.zeros(self.dim), requires_grad=not self.int8)
        self.map = None if self.config.rank is None else nn.Linear(self.width, self.dim, bias=False)
        if self.map is not None and self.int8:
            self.map.requires_grad_(False)

    def fit(self, items: Sequence[str], *, seed: int) -> None:
        """Train (or load) the tokenizer, weight its tokens by their counts, and draw a random table.

        Raises:
            LimbeckError: an int8 table, which cannot be trained.
        """
        if self.int8:
            raise LimbeckError(
                "towers.text.backbone.storage: an int8 table is not trained; use float32, or make the tower "
                "by limbeck distil-text",
                code="E-CONFIG-VALUE",
            )
        own = self.config.tokenizer
        self.use(load_tokenizer(own) if isinstance(own, str) else train_tokenizer(items, own))
        ids = [token for text in self.tokenizer.encode_batch(list(items)) for token in text.ids]
        counts = np.bincount(ids, minlength=len(self.weight))
        self.weight.copy_(torch.from_numpy(token_weights(counts)))
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.table, std=self.width**-0.5, generator=generator)
        if self.map is not None:
            nn.init.orthogonal_(self.map.weight, generator=generator)

    @torch.no_grad()
    def set_table(self, table: StaticTable) -> None:
        """Take a fitted table; int8 storage rounds its rows to 127 steps either way."""
        rows = table.rows
        if self.int8:
            scale = np.maximum(np.abs(rows).max(1), 1e-12) / 127
            rows = np.rint(rows / scale[:, None])
            self.scale.copy_(torch.from_numpy(scale))
        self.table.copy_(torch.from_numpy(rows))
        self.weight.copy_(torch.from_numpy(table.weight))
        self.bias.copy_(torch.from_numpy(table.bias))
        if self.map is not None and table.map is not None:
            self.map.weight.copy_(torch.from_numpy(table.map))

    @property
    def worth_caching(self) -> bool:
        """False, as the lookup costs no more than a cache."""
        return False

    @property
    def bytes(self) -> int:
        """The size of its weights."""
        return sum(x.numel() * x.element_size() for x in self.state_dict().values())

    @property
    def preprocessor(self) -> TokenPreprocessor:
        """Tokenizes to at most ``length`` tokens."""
        pad = self.tokenizer.token_to_id(PAD) or 0  # any will do, as the mask removes it
        return TokenPreprocessor(self.tokenizer, pad, self.config.length, known="word")

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) features; a text without a known token gives the bias."""
        ids = inputs["input_ids"]
        weight = self.weight[ids] * inputs["attention_mask"]
        share = weight / weight.sum(1, keepdim=True).clamp_min(1e-9)
        if self.int8:
            share = share * self.scale[ids]
        mean = torch.bmm(share[:, None], self.table[ids].to(share.dtype))[:, 0]
        return self.bias + (mean if self.map is None else self.map(mean))

    def save_assets(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save(str(folder / "tokenizer.json"))

    def load_assets(self, folder: Path) -> None:
        """Read the tokenizer and make an empty table."""
        self.use(read_tokenizer(folder))
