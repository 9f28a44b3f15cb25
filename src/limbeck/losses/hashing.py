"""Losses of supervised cross-modal hashing, in the form of DCMH (Jiang & Li 2017), as means, not sums."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def shared_label(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the similarity matrix S of the field: 1 where two items share a label, else 0.

    Args:
        a: (A, C) labels of 0 and 1.
        b: (B, C) labels of 0 and 1.

    Returns:
        (A, B) float32 of 0 and 1.
    """
    return (a.float() @ b.float().T > 0).float()


def scaled_logits(u: torch.Tensor, v: torch.Tensor, theta: float) -> torch.Tensor:
    """Return Theta_ij = theta / sqrt(b) · u_i · v_j for relaxed codes (A, b) and (B, b): (A, B).

    The factor gives logits the same spread at every code length (ours; DCMH and MITH take 1/2 instead).
    """
    return theta / math.sqrt(u.shape[1]) * (u @ v.T)


def pairwise_likelihood(logits: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of S: the mean of log(1 + e^Theta) - S Theta (DCMH, eq. 1).

    Args:
        logits: (A, B) Theta.
        similar: (A, B) S, 0 or 1.
    """
    return F.binary_cross_entropy_with_logits(logits, similar)


def quantization(relaxed: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of relaxed codes (B, b) from binary ±1 codes (B, b) (DCMH, eq. 1)."""
    return (codes - relaxed).square().mean()


def bit_balance(relaxed: torch.Tensor) -> torch.Tensor:
    """Return the mean square of the bits' batch means, from codes (B, b); 0 is even (DCMH, eq. 1)."""
    return relaxed.mean(0).square().mean()


def code_mse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of paired relaxed codes (B, b)."""
    return (a - b).square().mean()
