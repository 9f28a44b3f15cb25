"""Nested codes (ours): the first bits of a code are a code of their own, as good as one of that length.

This follows the idea of Matryoshka representations (Kusupati et al. 2022), which nest float vectors: the loss
of the method is averaged over the whole code and its prefixes of p bits.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, TypeVar

import torch
from pydantic import Field, model_validator

from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.methods.base import Losses, Method, Outputs, Setup, TrainState

OutputsT = TypeVar("OutputsT", bound=Outputs)


class NestedConfig(Strict):
    """Prefix lengths in bits, and the weight of each; the whole code has weight 1."""

    prefixes: list[Annotated[int, Field(ge=8, multiple_of=8)]] = Field(default_factory=list)
    prefix_weights: list[Annotated[float, Field(gt=0)]] | None = None

    @model_validator(mode="after")
    def _lengths_grow(self) -> NestedConfig:
        if self.prefixes != sorted(set(self.prefixes)):
            raise ValueError("needs prefixes in ascending order, each once")
        if self.prefix_weights is not None and len(self.prefix_weights) != len(self.prefixes):
            raise ValueError("needs as many prefix_weights as prefixes")
        return self


class NestedMethod(Method[OutputsT]):
    """A hashing method whose loss is the weighted mean of `code_loss` over the code and its prefixes."""

    def __init__(self, encoder: DualEncoder, config: NestedConfig, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        if config.prefixes and config.prefixes[-1] >= encoder.lift.dim:
            raise LimbeckError(
                f"prefixes: {config.prefixes[-1]} bits are not shorter than a code of {encoder.lift.dim}; "
                "give shorter ones, or a longer lift.bits",
                code="E-CODES-LENGTH",
            )

    @abstractmethod
    def code_loss(self, outputs: OutputsT, state: TrainState) -> Losses:
        """Return the loss of codes (B, p) of any length p."""

    def loss(self, outputs: OutputsT, state: TrainState) -> Losses:
        """Return the mean over the lengths; parts are the whole code's, ``first_p`` a prefix's total."""
        whole, prefixes = self.code_loss(outputs, state), self.config.prefixes
        if not prefixes:
            return whole
        weights = self.config.prefix_weights or [1.0] * len(prefixes)
        cut = [self.code_loss(first_bits(outputs, bits), state).total for bits in prefixes]
        total = whole.total + sum(w * own for w, own in zip(weights, cut, strict=True))
        parts = {f"first_{bits}": own.detach() for bits, own in zip(prefixes, cut, strict=True)}
        return Losses(total / (1 + sum(weights)), whole.parts | parts, whole.monitors)


def first_bits(outputs: OutputsT, bits: int) -> OutputsT:
    """Return the outputs with the codes in ``image`` and ``text`` cut to the first ``bits`` columns."""
    tensors: dict[str, torch.Tensor] = outputs.tensors()
    return replace(outputs, **{m: tensors[m][:, :bits] for m in ("image", "text") if m in tensors})
