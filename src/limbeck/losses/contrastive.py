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
    return (row_nce(logits) + row_nce(logits.T)) / 2


def row_nce(logits: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each row of logits (B, B) with its own column: one direction of InfoNCE."""
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def batch_accuracy(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the share of the B pictures whose own text scores best, from logits (B, B)."""
    own = torch.arange(len(logits), device=logits.device)
    return {"batch_accuracy": (logits.detach().argmax(1) == own).float().mean()}
