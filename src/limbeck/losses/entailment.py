"""Entailment losses: a text's cone should contain its picture (cones of Le et al. 2019)."""

from __future__ import annotations

import torch
from torch.nn import functional as F


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


def softened_entailment(excess: torch.Tensor, angle: torch.Tensor, slope: float) -> torch.Tensor:
    """Return max(0, excess) + slope · angle, (B,): UNCHA's residual, which pulls inside the cone, too.

    Args:
        excess: (B,) exterior angle minus (scaled) half aperture, in radians.
        angle: (B,) exterior angle.
        slope: factor of the angle.
    """
    return excess.clamp_min(0) + slope * angle


def uncertainty(points: torch.Tensor) -> torch.Tensor:
    """Return softplus(−‖x‖), (B,), of space parts (B, dim): a point near the origin is uncertain (UNCHA)."""
    return F.softplus(-points.norm(dim=-1))


def calibration(residual: torch.Tensor, log_uncertainty: torch.Tensor) -> torch.Tensor:
    """Return mean [r / (2 exp u) + u / 2] + entropy of softmax(u): radii learn to predict residuals (UNCHA).

    Args:
        residual: (B,) residuals r of the cones; they get no gradient.
        log_uncertainty: (B,) `uncertainty` u of the apexes.
    """
    u = log_uncertainty
    share = u.softmax(0)
    entropy = -(share * share.log()).sum()
    return (residual.detach() / u.exp() + u).mean() / 2 + entropy


def radius_floor(radius: torch.Tensor, low: float) -> torch.Tensor:
    """Return the mean of max(0, low - radius)², which keeps cones from collapsing to half-spaces (ours).

    Args:
        radius: (B,) radii of the apexes, in units of 1/√curv.
        low: the radius above which nothing is added.
    """
    return (low - radius).clamp_min(0).square().mean()


def calibrated_cones(
    angles: torch.Tensor, aperture: torch.Tensor, negatives: float, scale: float
) -> torch.Tensor:
    """Return the logistic loss of cones that hold their own specific point and not the others (ours).

        mean_i softplus(-m_ii / s) + negatives * mean_{i != j} softplus(m_ij / s),  m_ij = aper_i - ext_ij

    A hinge on own points alone, as in MERU, is also 0 for cones that hold everything. With negatives the
    aperture is where own points are ``negatives`` times as likely as others, so that it says something.

    Args:
        angles: (A, B) exterior angles at general point i to specific point j, in radians; i owns j = i.
        aperture: (A,) half apertures, in radians.
        negatives: weight of the other points.
        scale: s, in radians.
    """
    margin = (aperture.unsqueeze(1) - angles) / scale
    own = F.softplus(-margin.diagonal()).mean()
    if not negatives or len(margin) < 2:
        return scale * own
    others = F.softplus(margin).sum() - F.softplus(margin.diagonal()).sum()
    return scale * (own + negatives * others / (margin.numel() - len(margin)))


def even_cones(angles: torch.Tensor, aperture: torch.Tensor, share: float) -> torch.Tensor:
    """Return the quantile loss of cones that each hold the same share of all points (ours).

        mean_ij max(q d_ij, (q - 1) d_ij),  d_ij = ext_ij - aper_i,  q = share

    It is least where the aperture is the ``share`` quantile of a row's angles (Koenker and Bassett, 1978).
    The angles are taken as given, so that only the apertures learn.

    Args:
        angles: (A, B) exterior angles at general point i to specific point j, in radians.
        aperture: (A,) half apertures, in radians.
        share: the share of the points that each cone should hold, in (0, 1).
    """
    beyond = angles.detach() - aperture.unsqueeze(1)
    return torch.maximum(share * beyond, (share - 1) * beyond).mean()


def linear_warmup(step: int, total_steps: int, share: float) -> float:
    """Return a factor that rises from 0 to 1 over the first ``share`` of the steps, then stays (ours)."""
    return 1.0 if share == 0 else min(1.0, step / (share * total_steps))
