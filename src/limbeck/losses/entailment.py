"""Entailment loss: a text's cone should contain its picture (MERU; cones of Le et al. 2019)."""

from __future__ import annotations

import torch


def entailment(excess: torch.Tensor) -> torch.Tensor:
    """Return the mean of max(0, ext(text, image) - aper(text)) (MERU, entailment loss).

    Args:
        excess: (B,) exterior angle of the picture at its text minus the half aperture there, in radians.
    """
    return excess.clamp_min(0).mean()


def linear_warmup(step: int, total_steps: int, share: float) -> float:
    """Return a factor that rises from 0 to 1 over the first ``share`` of the steps, then stays (ours)."""
    return 1.0 if share == 0 else min(1.0, step / (share * total_steps))
