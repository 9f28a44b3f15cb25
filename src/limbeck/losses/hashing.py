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


def pairwise_likelihood(
    logits: torch.Tensor, similar: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the negative log-likelihood of S: the mean of log(1 + e^Theta) - S Theta (DCMH, eq. 1).

    Args:
        logits: (A, B) Theta.
        similar: (A, B) S, from 0 to 1.
        weight: (A, B) weight of each pair.
    """
    return F.binary_cross_entropy_with_logits(logits, similar, weight=weight)


def rare_pair_weights(a: torch.Tensor, b: torch.Tensor, shares: torch.Tensor, power: float) -> torch.Tensor:
    """Return weights of pairs that grow with the rarity of the labels that they share (ours).

    A similar pair weighs the mean of share^-power over its shared labels, divided by the mean over all
    similar pairs; a dissimilar pair weighs 1.

    Args:
        a: (A, C) labels of 0 and 1.
        b: (B, C) labels of 0 and 1.
        shares: (C,) share of the training rows with each label.
        power: 0 weighs all pairs alike.

    Returns:
        (A, B) float32.
    """
    rarity = shares.float().clamp_min(1e-6) ** -power
    common = a.float() @ b.float().T
    similar = common > 0
    weight = ((a.float() * rarity) @ b.float().T) / common.clamp_min(1)
    mean = weight.sum() / similar.sum().clamp_min(1)
    return torch.where(similar, weight / mean, 1.0)


def quantization(relaxed: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of relaxed codes (B, b) from binary ±1 codes (B, b) (DCMH, eq. 1)."""
    return (codes - relaxed).square().mean()


def bit_balance(relaxed: torch.Tensor) -> torch.Tensor:
    """Return the mean square of the bits' batch means, from codes (B, b); 0 is even (DCMH, eq. 1)."""
    return relaxed.mean(0).square().mean()


def code_mse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of paired relaxed codes (B, b)."""
    return (a - b).square().mean()


def coding_rate(rows: torch.Tensor, eps: float = 0.05) -> torch.Tensor:
    """Return minus the coding rate of rows (m, p), which is low where they fill the space evenly.

    -1/2 logdet(I + p / (m eps) X'X) (p + m) / (p m); X has rows of unit length (Yu et al. 2020; CroVCA).
    """
    m, p = rows.shape
    x = F.normalize(rows, dim=1)
    gram = torch.eye(p, device=x.device, dtype=x.dtype) + p / (m * eps) * (x.T @ x)
    # The product of a Cholesky factor's diagonal is the root of the determinant.
    half = torch.linalg.cholesky(gram).diagonal().log().sum()
    return -half * (p + m) / (p * m)
