"""Masks: the patches of a picture that an image tower sees in a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from limbeck.encoders.config import Strict
from limbeck.encoders.inputs import TowerInputs
from limbeck.errors import LimbeckError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Separates these numbers from others that are drawn from the same seed, such as the crop's.
_STREAM = np.uint64(0x6D61736B_70617463)
_AGAIN = 0x76696577_00000002
_LONGEST = 0.3  # short side divided by long side of the longest block
# Names under which masks travel with a picture's inputs.
KEEP, KEEP_AGAIN = "keep", "keep_again"


class MaskConfig(Strict):
    """Drop a ``ratio`` of the patches of each training picture.

    Attributes:
        kind: ``random`` (FLIP, Li et al. 2023), ``block`` (rectangles, BEiT, Bao et al. 2022), or
            ``attentive``: drop those to which the class token of the student's moving average attends least
            (A-CLIP, Yang et al. 2023).
        views: the number of masks per picture; the student sees each, and its losses are averaged.
    """

    kind: Literal["random", "block", "attentive"] = "random"
    ratio: float = Field(default=0.5, ge=0, lt=1)
    views: Literal[1, 2] = 1

    @model_validator(mode="after")
    def _views_differ(self) -> MaskConfig:
        if self.views == 2 and self.ratio == 0:
            raise ValueError("two views without a mask are the same; set views: 1 or a ratio above 0")
        if self.views == 2 and self.kind == "attentive":
            raise ValueError("two attentive masks of a picture are the same; set views: 1 or kind: random")
        return self


def drawn(config: MaskConfig, patches: int, draws: Sequence[int]) -> dict[str, torch.Tensor]:
    """Draw the masks that are known before a step: ``keep`` (B, K), with two views also ``keep_again``.

    Attentive masks are not among them: they depend on the weights.
    """
    if config.ratio == 0 or config.kind == "attentive":
        return {}
    keep = random_keep if config.kind == "random" else block_keep
    masks = {KEEP: keep(patches, config.ratio, draws)}
    if config.views == 2:
        masks[KEEP_AGAIN] = keep(patches, config.ratio, [draw ^ _AGAIN for draw in draws])
    return masks


def unmasked(inputs: TowerInputs) -> TowerInputs:
    """Return the inputs of pictures without their masks."""
    if not isinstance(inputs, dict):
        return inputs
    return {name: value for name, value in inputs.items() if name not in (KEEP, KEEP_AGAIN)}


def kept(patches: int, ratio: float) -> int:
    """Return the number of patches that stay: equal for every picture, and at least 1."""
    return max(1, round(patches * (1 - ratio)))


def random_keep(patches: int, ratio: float, draws: Sequence[int]) -> torch.Tensor:
    """Choose `kept` patches of each picture uniformly: (B, K) int64, ascending.

    A row depends only on its own draw, on every machine: patches are ranked by the numbers of SplitMix64
    (Steele, Lea, Flood 2014), computed for all pictures at once.

    Args:
        patches: the number of patches in the grid.
        ratio: the share that is dropped, 0 <= ratio < 1.
        draws: one integer 0 <= draw < 2^63 per picture.
    """
    state = _mix(np.array(draws, np.uint64) ^ _STREAM)
    ranks = _mix(state[:, None] + np.arange(1, patches + 1, dtype=np.uint64) * _GOLDEN)
    chosen = np.argsort(ranks, axis=1, kind="stable")[:, : kept(patches, ratio)]
    return torch.from_numpy(np.sort(chosen, axis=1))


def block_keep(patches: int, ratio: float, draws: Sequence[int]) -> torch.Tensor:
    """Drop rectangles of each picture's square grid: (B, K) int64, ascending, with K as in `random_keep`.

    BEiT's blocks have a log-uniform aspect ratio of 0.3 to 1/0.3. Their area is at least a twelfth of the
    patches (BEiT: 16 of 196) and at most what is still to drop. They may overlap. The last one is cut off in
    raster order where it would drop too many (ours: BEiT's count varies, and a batch needs one size).

    Raises:
        LimbeckError: the patches do not form a square.
    """
    grid = math.isqrt(patches)
    if grid**2 != patches:
        raise LimbeckError(
            f"mask.kind block needs a square grid, not {patches} patches; set kind: random",
            code="E-CONFIG-VALUE",
        )
    rows = []
    for draw in draws:
        rng = np.random.default_rng([int(_STREAM), draw])
        gone = np.zeros((grid, grid), dtype=bool)
        left = patches - kept(patches, ratio)
        while left:
            area = rng.uniform(min(left, max(1, patches // 12)), left)
            shape = math.exp(rng.uniform(math.log(_LONGEST), -math.log(_LONGEST)))
            height = min(grid, max(1, round(math.sqrt(area * shape))))
            width = min(grid, max(1, round(math.sqrt(area / shape))))
            top, start = rng.integers(grid - height + 1), rng.integers(grid - width + 1)
            block = np.zeros_like(gone)
            block[top : top + height, start : start + width] = True
            fresh = np.flatnonzero(block & ~gone)[:left]
            gone.flat[fresh] = True
            left -= len(fresh)
        rows.append(np.flatnonzero(~gone))
    return torch.from_numpy(np.stack(rows))


def attended_keep(attention: torch.Tensor, ratio: float) -> torch.Tensor:
    """Choose the patches with the most attention (B, patches): (B, K) int64, ascending."""
    return attention.topk(kept(attention.shape[1], ratio), dim=1).indices.sort(dim=1).values


def _mix(x: np.ndarray) -> np.ndarray:
    """Apply SplitMix64's output function, a bijection of 64-bit integers that scatters neighbours."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def dropped(keep: torch.Tensor, patches: int) -> torch.Tensor:
    """Return the patches that are not in ``keep`` (B, K): (B, patches - K) int64, ascending."""
    seen = torch.zeros(len(keep), patches, dtype=torch.uint8, device=keep.device).scatter_(1, keep, 1)
    # A stable sort puts the unseen ones first, in order; `nonzero` would wait for the device.
    return seen.argsort(dim=1, stable=True)[:, : patches - keep.shape[1]]
