"""Losses of supervised cross-modal hashing, in the form of DCMH (Jiang & Li 2017), as means not sums."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def shared_label(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """S of the field: 1 where two items share a label.

    Args:
        a: (A, C) labels of 0 and 1.
        b: (B, C).

    Returns:
        (A, B) float32 of 0 and 1.
    """
    return (a.float() @ b.float().T > 0).float()


def pairwise_likelihood(logits: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of the similarities, mean of log(1 + e^theta) - S theta (DCMH eq. 1).

    Args:
        logits: (A, B) theta.
        similar: (A, B) S, 0 or 1.
    """
    return F.binary_cross_entropy_with_logits(logits, similar)


def quantization(relaxed: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of relaxed (B, b) from binary codes (B, b) of ±1 (DCMH eq. 1, 2nd term)."""
    return (codes - relaxed).square().mean()


def bit_balance(relaxed: torch.Tensor) -> torch.Tensor:
    """Mean square of the bits' means over the batch (B, b); zero is an even split (DCMH eq. 1, 3rd term)."""
    return relaxed.mean(0).square().mean()


def agreement(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of paired relaxed codes (B, b)."""
    return (a - b).square().mean()
