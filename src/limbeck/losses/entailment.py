"""Entailment losses: a text's cone should contain its picture (cones of Le et al. 2019)."""

from __future__ import annotations

import torch


def entailment(excess: torch.Tensor) -> torch.Tensor:
    """Return the mean of max(0, ext(text, image) - aper(text)) (MERU, entailment loss).

    Args:
        excess: (B,) exterior angle of the picture at its text minus the half aperture there, in radians.
    """
    return excess.clamp_min(0).mean()


def adaptive_entailment(angle: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Return the mean of w ext(text, image) with w = d / (d + mean d) (ARGENT's AdaEnt; its weight is ours).

    The angle is that of two nearly equal points where its slope is steepest, about 1/d. The weight, which
    carries no gradient, keeps such pairs from being pushed apart.

    Args:
        angle: (B,) exterior angle of the picture at its text, in radians.
        distance: (B,) distance of both.
    """
    apart = distance.detach()
    return (apart / (apart + apart.mean()).clamp_min(1e-12) * angle).mean()


def radius_floor(radius: torch.Tensor, low: float) -> torch.Tensor:
    """Return the mean of max(0, low - radius)², which keeps cones from collapsing to half-spaces (ours).

    Args:
        radius: (B,) radii of the apexes, in units of 1/√curv.
        low: the radius from which nothing is added.
    """
    return (low - radius).clamp_min(0).square().mean()


def linear_warmup(step: int, total_steps: int, share: float) -> float:
    """Return a factor that rises from 0 to 1 over the first ``share`` of the steps, then stays (ours)."""
    return 1.0 if share == 0 else min(1.0, step / (share * total_steps))
