"""Rows of numbers in four or two bits: uniform levels around zero, one step per row."""

from __future__ import annotations

import itertools

import torch
from torch.nn import functional

STEPS = {4: 0.3352, 2: 0.9957}
"""The step between levels, relative to the root mean square of a row: the one of least error for Gaussian
numbers (Max 1960)."""


def levels(rows: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Round rows (n, d) to whole levels from 0 to 2^bits - 1.

    Returns:
        the levels (n, d) and the steps (n, 1); a number is about (level - (2^bits - 1) / 2) · step.
    """
    step = STEPS[bits] * rows.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12)
    return (rows / step + _half(bits)).round().clamp(0, 2**bits - 1), step


def rounded(rows: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the numbers that remain of rows; the gradient passes as if nothing was rounded."""
    level, step = levels(rows.detach(), bits)
    return rows + ((level - _half(bits)) * step - rows).detach()


def pack(digits: torch.Tensor) -> torch.Tensor:
    """Pack numbers from 0 to 3, (n, d), into w = ⌈d/4⌉ bytes: number j is in byte j mod w, at bit 2 ⌊j/w⌋."""
    padded = functional.pad(digits, (0, -digits.shape[1] % 4)).reshape(len(digits), 4, -1)
    return (padded * 4 ** torch.arange(4)[:, None]).sum(1).to(torch.uint8)


def weighted_sum(weight: torch.Tensor, packed: torch.Tensor, width: int) -> torch.Tensor:
    """Return Σ weight · (number - 1.5) over the second axis, (B, width).

    Each number is a difference of terms ⌊byte / 4ʲ⌋, taken exactly before the sum: sums of these terms would
    cancel and leave too few digits for a long text.

    Args:
        weight: (B, L).
        packed: bytes of `pack`, (B, L, ⌈width/4⌉).
        width: the count of numbers per row, a constant of an exported graph.
    """
    bytes_ = packed.float()
    shifted = [bytes_, *((bytes_ * 0.25**j).floor() for j in (1, 2, 3))]
    numbers = [*(low - 4 * high for low, high in itertools.pairwise(shifted)), shifted[3]]
    found = torch.bmm(weight[:, None], torch.cat(numbers, -1))[:, 0] - 1.5 * weight.sum(1, keepdim=True)
    return found[:, :width] if width % 4 else found


def _half(bits: int) -> float:
    return (2**bits - 1) / 2
