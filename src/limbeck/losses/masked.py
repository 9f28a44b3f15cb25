"""What masked reconstruction needs: targets at the dropped patches, on the right grid; an error of pixels."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from limbeck.errors import LimbeckError


def at_patches(features: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Return the rows of (B, P, d) at the patch numbers (B, K): (B, K, d)."""
    return features.gather(1, patches.unsqueeze(-1).expand(-1, -1, features.shape[-1]))


def pixel_error(prediction: torch.Tensor, tiles: torch.Tensor) -> torch.Tensor:
    """Return (B,): mean squared error against pixels normalised by patch (MAE, He et al. 2022).

    Args:
        prediction: (B, K, n).
        tiles: (B, K, n) pixels of the same patches; their variance is unbiased, with 1e-6 added, as in MAE.
    """
    variance, mean = torch.var_mean(tiles.float(), dim=-1, keepdim=True)
    wanted = (tiles - mean) / (variance + 1e-6).sqrt()
    return (prediction.float() - wanted).square().mean((1, 2))


def resample_grid(features: torch.Tensor, patches: int) -> torch.Tensor:
    """Resample patch features (B, P, d) of one square grid to another: (B, patches, d).

    The resampling is bilinear, and averages where the grid becomes coarser (ours).
    """
    if features.shape[1] == patches:
        return features
    sides = [math.isqrt(features.shape[1]), math.isqrt(patches)]
    if sides[0] ** 2 != features.shape[1] or sides[1] ** 2 != patches:
        raise LimbeckError(
            f"patches: grids of {features.shape[1]} and {patches} patches are not both square",
            code="E-ARRAY-SHAPE",
        )
    grid = features.transpose(1, 2).unflatten(2, (sides[0], sides[0]))
    grid = F.interpolate(grid, size=(sides[1], sides[1]), mode="bilinear", antialias=sides[1] < sides[0])
    return grid.flatten(2).transpose(1, 2)
