"""Contrastive loss over logits, one for every space, and the accuracy that is logged beside it."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def info_nce(logits: torch.Tensor) -> torch.Tensor:
    """Return the symmetric cross-entropy of matched rows and columns (CLIP, Radford et al. 2021, fig. 3).

    Args:
        logits: (B, B); entry (i, j) scores picture i against text j, matches on the diagonal.

    Returns:
        Scalar mean over both directions.
    """
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def batch_accuracy(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the share of the B pictures whose own text scores best, from logits (B, B)."""
    own = torch.arange(len(logits), device=logits.device)
    return {"batch_accuracy": (logits.detach().argmax(1) == own).float().mean()}
