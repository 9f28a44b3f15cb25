"""Bags of words as a tower's first layer reads them: the known words of a text, not a row of zeros.

With V words and R further numbers the dense layer costs 4 B (V + R) H operations per step, although nearly
all of the V counts of a text are zero. The result differs from the dense layer's by rounding only (ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from limbeck.encoders.features import BagBackbone
from limbeck.encoders.inputs import Bagged


class Bags:
    """The word counts of a list of texts, kept by row: about a hundred bytes per text."""

    def __init__(self, bag: BagBackbone, texts: Sequence[str]) -> None:
        self.bag = bag
        self.starts, self.columns, self.values = bag.preprocessor.counted(texts)

    def inputs(self, sets: Sequence[Sequence[int]], beside: torch.Tensor) -> Bagged:
        """Return the mean of the texts of each set, as `Bagged` rows (B).

        Args:
            sets: positions in the list of texts, at least one per set.
            beside: the output (B, R) of the other part of the tower.
        """
        texts = np.array([text for own in sets for text in own], np.int64)
        owner = np.repeat(np.arange(len(sets)), [len(own) for own in sets])
        share = np.repeat([np.float32(1 / len(own)) for own in sets], [len(own) for own in sets])
        lengths = np.diff(self.starts)[texts]
        word = _ranges(self.starts[texts], lengths)
        row = np.repeat(owner, lengths)
        place = _ranges(np.zeros(len(sets), np.int64), np.bincount(row, minlength=len(sets)))
        shape = len(sets), int(place.max(initial=-1)) + 1
        columns, values = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        columns[row, place] = self.columns[word]
        values[row, place] = self.values[word] * np.repeat(share, lengths)
        return Bagged(self.bag, torch.from_numpy(columns), torch.from_numpy(values), beside)


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return start, start + 1, … (``length`` numbers) of each range, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)


def store_by_input(linear: nn.Linear) -> None:
    """Store the weight (H, V) in memory as (V, H), so that the H numbers of a word are adjacent."""
    linear.weight.data = linear.weight.data.t().contiguous().t()


def bag_linear(linear: nn.Linear, inputs: Bagged) -> torch.Tensor:
    """Return ``linear`` of ``inputs.dense()``, (B, H); autocast rounds only the part beside the bag."""
    bag, known = inputs.bag, inputs.values != 0
    counts = known.sum(1)
    arguments = (
        inputs.columns[known],
        inputs.values[known] / bag.scale,
        counts.cumsum(0) - counts,
        inputs.beside,
        -bag.mean / bag.scale,
    )
    found: torch.Tensor = _BagLinear.apply(linear.weight, linear.bias, *arguments)
    return found


class _Context(Protocol):
    dtype: torch.dtype
    saved_tensors: tuple[torch.Tensor, ...]

    def save_for_backward(self, *tensors: torch.Tensor) -> None: ...


class _BagLinear(torch.autograd.Function):
    """y = Σ value · W[column] + shift · W[:V] + beside · W[V:] + b, with W = weightᵀ (V + R, H).

    The gradient of W is dense, since centring touches every word, and so is AdamW's step. It is written once.
    """

    @staticmethod
    def forward(
        ctx: _Context,
        weight: torch.Tensor,
        bias: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        starts: torch.Tensor,
        beside: torch.Tensor,
        shift: torch.Tensor,
    ) -> torch.Tensor:
        device, words = weight.device.type, len(shift)
        half = torch.is_autocast_enabled(device)
        ctx.dtype = torch.get_autocast_dtype(device) if half else weight.dtype
        ctx.save_for_backward(weight, columns, values, starts, beside, shift)
        with torch.autocast(device, enabled=False):
            found = _summed(weight.t()[:words], columns, values, starts)
            found += shift @ weight.t()[:words] + bias
            if beside.shape[1]:
                found += beside.to(ctx.dtype) @ weight[:, words:].t().to(ctx.dtype)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, columns, values, starts, beside, shift = ctx.saved_tensors
        words, total = len(shift), grad.sum(0)
        by_input = torch.empty(weight.shape[::-1], dtype=weight.dtype, device=weight.device)
        with torch.enable_grad():  # the backward pass of the sum alone, which torch has only behind autograd
            table = weight.t()[:words].detach().requires_grad_()
            summed = _summed(table, columns, values, starts)
        (bag,) = torch.autograd.grad(summed, table, grad)
        torch.addr(bag, shift, total, out=by_input[:words])
        if beside.shape[1]:
            by_input[words:] = beside.to(ctx.dtype).t() @ grad.to(ctx.dtype)
        return by_input.t(), total, None, None, None, None, None


def _summed(
    table: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, starts: torch.Tensor
) -> torch.Tensor:
    return functional.embedding_bag(columns, table, starts, mode="sum", per_sample_weights=values)
