"""Rows of numbers in four or two bits: uniform levels around zero, one step per row."""

from __future__ import annotations

import torch

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


def pack(level: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack levels (n, d) into bytes (n, d · bits / 8), the first level in the lowest bits."""
    places = 2 ** (bits * torch.arange(8 // bits))
    return (level.reshape(len(level), -1, 8 // bits).long() * places).sum(-1).to(torch.uint8)


def unpack(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Return the levels of bytes (…, w) minus their middle, float32 (…, 8 w / bits).

    It looks each byte up in a table, which is the cheapest form in an ONNX graph.
    """
    return _TABLES[bits].to(packed.device)[packed.long()].flatten(-2)


def _half(bits: int) -> float:
    return (2**bits - 1) / 2


def _table(bits: int) -> torch.Tensor:
    places = bits * torch.arange(8 // bits)
    return ((torch.arange(256)[:, None] >> places) % 2**bits).float() - _half(bits)


_TABLES = {bits: _table(bits) for bits in STEPS}
