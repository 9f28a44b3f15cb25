"""Which patches of a picture an image tower sees in a training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from limbeck.encoders.config import Strict

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Sets these numbers apart from others that are drawn from the same seed, such as the crop's.
_STREAM = np.uint64(0x6D61736B_70617463)


class MaskConfig(Strict):
    """Patches left out of each training picture: a random ``ratio`` of them (FLIP, Li et al. 2023)."""

    kind: Literal["random"] = "random"
    ratio: float = Field(default=0.5, ge=0, lt=1)


def kept(patches: int, ratio: float) -> int:
    """Number of patches that stay: the same for every picture, and at least 1."""
    return max(1, round(patches * (1 - ratio)))


def random_keep(patches: int, ratio: float, draws: Sequence[int]) -> torch.Tensor:
    """(B, K) int64, rising: a uniform choice of `kept` patches for each picture.

    A row depends on its own draw alone, on every machine: patches are ranked by the numbers of SplitMix64
    (Steele, Lea, Flood 2014), here for all pictures at once.

    Args:
        patches: number of patches of the grid.
        ratio: share that is left out, 0 <= ratio < 1.
        draws: one integer 0 <= draw < 2^63 a picture.
    """
    state = _mix(np.array(draws, np.uint64) ^ _STREAM)
    ranks = _mix(state[:, None] + np.arange(1, patches + 1, dtype=np.uint64) * _GOLDEN)
    chosen = np.argsort(ranks, axis=1, kind="stable")[:, : kept(patches, ratio)]
    return torch.from_numpy(np.sort(chosen, axis=1))


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's output function: a bijection of 64-bit integers that scatters neighbours."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def dropped(keep: torch.Tensor, patches: int) -> torch.Tensor:
    """(B, patches - K) int64, rising: the patches that are not in ``keep`` (B, K)."""
    seen = torch.zeros(len(keep), patches, dtype=torch.uint8, device=keep.device).scatter_(1, keep, 1)
    # A stable sort puts the unseen ones first, in order; `nonzero` would wait for the device.
    return seen.argsort(dim=1, stable=True)[:, : patches - keep.shape[1]]
