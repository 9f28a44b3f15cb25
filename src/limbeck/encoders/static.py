"""A text tower without a network: the weighted mean of a table's rows, one row per token."""

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
from limbeck.encoders.packed_rows import levels, pack, weighted_sum
from limbeck.encoders.tokenizer import PAD, load_tokenizer, train_tokenizer
from limbeck.errors import LimbeckError
from limbeck.preprocess.text import TokenPreprocessor, read_tokenizer


@dataclass(frozen=True)
class Ball:
    """A sphere on which all outputs of a teacher lie.

    Attributes:
        centre: its centre (dim,).
        radius: its radius.
    """

    centre: np.ndarray
    radius: float


@dataclass(frozen=True)
class Correction:
    """The correction that is added to a mean m: outer · relu(inner · m + shift).

    Attributes:
        inner: (units, dim).
        shift: (units,).
        outer: (dim, units).
    """

    inner: np.ndarray
    shift: np.ndarray
    outer: np.ndarray


@dataclass(frozen=True)
class StaticTable:
    """A fitted table.

    Attributes:
        rows: the rows of the tokens (V, dim).
        weight: their weights (V,).
        bias: the output of a text without tokens (dim,).
        ball: the sphere onto which the outputs are moved, if there is one.
        correction: the correction that is added to the means, if there is one.
    """

    rows: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    ball: Ball | None = None
    correction: Correction | None = None


SMOOTH = 1e-2
"""The parameter a of the weights a / (a + p), p the share of a token (SIF; Arora et al. 2017)."""


def token_weights(counts: np.ndarray) -> np.ndarray:
    """Return SIF weights (V,) of tokens with these counts; 0 for tokens that never occur."""
    shares = counts / max(1, counts.sum())
    return np.where(counts > 0, SMOOTH / (SMOOTH + shares), 0).astype(np.float32)


class StaticBackbone(Backbone):
    """Map a text to bias + map(Σ w·row / Σ w) over its tokens; the order of words does not matter.

    A recipe trains a table in float32 with fixed weights ``w``. A packed table is made by
    `limbeck.training.distil_text` and never trained: the rows of its first ``fine`` tokens have four bits per
    number, the others two, and each row has a scale. Its mean m is corrected by outer · relu(inner · m +
    shift), as a list of words and a sentence with the same words differ (docs/text-towers.md).
    """

    reads = "text"
    config: StaticConfig
    weight: torch.Tensor
    table: torch.Tensor
    fine: torch.Tensor
    coarse: torch.Tensor
    scale: torch.Tensor
    inner: torch.Tensor
    shift: torch.Tensor
    outer: torch.Tensor
    centre: torch.Tensor
    radius: torch.Tensor

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.dim, self.packed = config.dim, config.fine is not None
        self.width = config.rank or config.dim

    def use(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Take a tokenizer and make an empty table for its tokens."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, size = tokenizer, tokenizer.get_vocab_size()
        self.register_buffer("weight", torch.zeros(size))
        if self.config.fine is None:
            self.table = nn.Parameter(torch.zeros(size, self.width))
        else:
            quarter, fine = -(-self.width // 4), self.config.fine
            self.register_buffer("coarse", torch.zeros(size, quarter, dtype=torch.uint8))
            self.register_buffer("fine", torch.zeros(fine, quarter, dtype=torch.uint8))
            self.register_buffer("scale", torch.zeros(size))
        if units := self.config.units:
            self.register_buffer("inner", torch.zeros(units, self.dim, dtype=torch.float16))
            self.register_buffer("shift", torch.zeros(units))
            self.register_buffer("outer", torch.zeros(self.dim, units, dtype=torch.float16))
        self.bias = nn.Parameter(torch.zeros(self.dim), requires_grad=not self.packed)
        self.map = None if self.config.rank is None else nn.Linear(self.width, self.dim, bias=False)
        if self.config.ball:
            self.register_buffer("centre", torch.zeros(self.dim))
            self.register_buffer("radius", torch.ones(()))

    def fit(self, items: Sequence[str], *, seed: int) -> None:
        """Train (or load) the tokenizer, weight its tokens by their counts, and draw a random table.

        Raises:
            LimbeckError: the table is packed, so it cannot be trained.
        """
        if self.packed:
            raise LimbeckError(
                "towers.text.backbone.fine: a packed table is not trained; remove fine, or make the tower "
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
        """Pack a fitted table."""
        rows, fine = torch.from_numpy(table.rows), len(self.fine)
        (level, step), (rough, wide) = levels(rows[:fine], 4), levels(rows[fine:], 2)
        upper = (level / 4).floor()
        self.coarse.copy_(pack(torch.cat([upper, rough])))
        self.fine.copy_(pack(level - 4 * upper))
        self.scale.copy_(torch.cat([4 * step, wide])[:, 0])
        self.weight.copy_(torch.from_numpy(table.weight))
        self.weight[self.preprocessor.pad] = 0
        self.bias.copy_(torch.from_numpy(table.bias))
        if table.correction is not None:
            for name in ("inner", "shift", "outer"):
                getattr(self, name).copy_(torch.from_numpy(getattr(table.correction, name)))
        if table.ball is not None:
            self.centre.copy_(torch.from_numpy(table.ball.centre))
            self.radius.fill_(table.ball.radius)

    @property
    def worth_caching(self) -> bool:
        """False, as the lookup costs no more than a cache."""
        return False

    @property
    def preprocessor(self) -> TokenPreprocessor:
        """Tokenizes to at most ``length`` tokens."""
        pad = self.tokenizer.token_to_id(PAD) or 0  # any will do, as the mask removes it
        return TokenPreprocessor(self.tokenizer, pad, self.config.length, known="word")

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) features; a text without a known token gives the bias."""
        ids = inputs["input_ids"]
        if self.config.fine is None:
            weight = self.weight[ids] * inputs["attention_mask"]
            mean = torch.bmm((weight / _total(weight))[:, None], self.table[ids])[:, 0]
        else:
            mean = self._mean_of_packed(ids, self.config.fine)
        mean = mean if self.map is None else self.map(mean)
        if self.config.units:
            hidden = torch.addmm(self.shift, mean, self.inner.float().T).relu()
            mean = torch.addmm(mean, hidden, self.outer.float().T)
        if not self.config.ball:
            return self.bias + mean
        away = mean + (self.bias - self.centre)
        return self.centre + away * (self.radius / away.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def _mean_of_packed(self, ids: torch.Tensor, fine: int) -> torch.Tensor:
        """Return the means (B, width); the padding has no weight."""
        scaled, size = self.weight * self.scale, self.tokenizer.get_vocab_size()
        # The finer digits are further rows, of the first tokens only.
        weights = torch.cat([scaled, scaled[:fine] / 4, scaled.new_zeros(1)])
        further = ids.clamp_max(fine) + size
        rows = torch.cat([self.coarse, self.fine, self.fine[:1]])
        places = torch.cat([ids, further], 1)
        return weighted_sum(weights[places], rows[places], self.width) / _total(self.weight[ids])

    def save_assets(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save(str(folder / "tokenizer.json"))

    def load_assets(self, folder: Path) -> None:
        """Read the tokenizer and make an empty table."""
        self.use(read_tokenizer(folder))


def _total(weight: torch.Tensor) -> torch.Tensor:
    return weight.sum(1, keepdim=True).clamp_min(1e-9)
