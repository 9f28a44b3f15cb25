"""Entailment loss: a text's cone should hold its picture (MERU; cones of Le et al. 2019)."""

from __future__ import annotations

import torch


def entailment(excess: torch.Tensor) -> torch.Tensor:
    """Mean of max(0, ext(text, image) - aper(text)) (MERU, entailment loss).

    Args:
        excess: (B,) exterior angle of the picture at its text minus the half aperture there, radians.
    """
    return excess.clamp_min(0).mean()


def ramp(step: int, total_steps: int, share: float) -> float:
    """Weight that rises from 0 to 1 over the first ``share`` of the steps, then stays (ours)."""
    return 1.0 if share == 0 else min(1.0, step / (share * total_steps))
