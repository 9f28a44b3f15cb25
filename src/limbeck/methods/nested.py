"""Nested codes (ours): the first bits of a code are a code of their own, as good as one of that length.

In the spirit of Matryoshka representations (Kusupati et al. 2022), which nest float vectors: the method's own
objective on the first p bits, averaged over the lengths p.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import Field, model_validator

from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.methods.base import Losses, Method, Reps, State


class NestedConfig(Strict):
    """Shorter lengths, and what each weighs in the objective beside the whole code, which weighs 1."""

    prefixes: list[Annotated[int, Field(ge=8, multiple_of=8)]] = Field(default_factory=list)
    prefix_weights: list[Annotated[float, Field(gt=0)]] | None = None

    @model_validator(mode="after")
    def _lengths_grow(self) -> NestedConfig:
        if self.prefixes != sorted(set(self.prefixes)):
            raise ValueError("wants prefixes in ascending order, each once")
        if self.prefix_weights is not None and len(self.prefix_weights) != len(self.prefixes):
            raise ValueError("wants one of prefix_weights for each of prefixes")
        return self


class Nested(Method):
    """A method of codes: its objective is the mean of `objective_of` over the whole code and its prefixes."""

    def __init__(self, encoder: DualEncoder, config: NestedConfig) -> None:
        super().__init__(encoder, config)
        if config.prefixes and config.prefixes[-1] >= encoder.lift.dim:
            raise LimbeckError(
                f"prefixes: {config.prefixes[-1]} bits are no part of a code of {encoder.lift.dim}; "
                "give shorter ones, or a longer lift.bits"
            )

    @abstractmethod
    def objective_of(self, reps: Reps, state: State) -> Losses:
        """Loss of codes (B, p) of any length: ``image``, ``text`` cut to p bits, the rest as it is."""

    def objective(self, reps: Reps, state: State) -> Losses:
        """Mean over the lengths; parts and monitors are the whole code's, ``first_p`` a prefix's total."""
        whole, prefixes = self.objective_of(reps, state), self.config.prefixes
        if not prefixes:
            return whole
        weights = self.config.prefix_weights or [1.0] * len(prefixes)
        cut = [self.objective_of(first(reps, bits), state).total for bits in prefixes]
        total = whole.total + sum(w * own for w, own in zip(weights, cut, strict=True))
        parts = {f"first_{bits}": own.detach() for bits, own in zip(prefixes, cut, strict=True)}
        return Losses(total / (1 + sum(weights)), whole.parts | parts, whole.monitors)


def first(reps: Reps, bits: int) -> dict[str, torch.Tensor]:
    """The first ``bits`` columns of the codes among some representations."""
    return {name: x[:, :bits] if name in ("image", "text") else x for name, x in reps.items()}
