"""Count the floating-point operations of a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limbeck.training.blocks import plain
from limbeck.training.step import float32, random_state, set_random_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from limbeck.data.batches import Batches
    from limbeck.methods import Method, TrainState
    from limbeck.methods.base import Outputs

COUNTED = 64
"""Pairs on which encoding is counted; fewer if the batch has fewer."""
_SIZES = (8, 12, 16)
"""Sizes n on which a loss is counted. It costs a + b n + c n², which three sizes determine."""


def count_flops(
    method: Method,
    batches: Batches,
    fabric: Fabric,
    seed: int,
    *,
    size: int | None = None,
    counted: int = COUNTED,
) -> int:
    """Count the floating-point operations of one forward and backward pass, two per multiply-add.

    torch counts matrix products, convolutions and attention; the rest is small. Encoding has no term across
    pairs: it is counted on the first pairs of a batch and scaled. The loss is counted on small sets of
    their outputs and extrapolated. The count uses plain attention, since fused kernels are not counted on
    every device. Cached outputs, such as a teacher's, count as zero; work that ``chunk`` does twice counts
    once. The method's weights and the random state stay unchanged.

    Args:
        method: the method to measure.
        batches: source of the pairs.
        fabric: device and precision.
        seed: seed of the `TrainState`.
        size: pairs per batch to scale to; default: that of ``batches``.
        counted: pairs on which encoding is counted. Few pairs stand less well for a batch of texts, which are
            encoded in groups of similar length.
    """
    from limbeck.methods import TrainState

    batch, before = batches.at(0).to(fabric.device), random_state()
    state = TrainState(step=0, total_steps=1, epoch=0, seed=seed)
    set_train_mode(method)
    size, own = size or batches.batch_size, min(len(batch), counted)

    def encode() -> Outputs:
        with fabric.autocast():
            return method.encode_batch(batch.part(0, own)).map(float32)

    total = _count(method, state, encode)
    if own != size:
        outputs = encode()
        loss = {n: _count(method, state, lambda n=n: _rows(outputs, n)) for n in _SIZES}  # type: ignore[misc]
        total = (total - extrapolate(loss, own)) * size // own + extrapolate(loss, size)
    set_random_state(before)
    return total


def _count(method: Method, state: TrainState, outputs: Callable[[], Outputs]) -> int:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), plain():
        method.loss(outputs(), state).total.backward()
    method.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def _rows(outputs: Outputs, count: int) -> Outputs:
    """Return ``count`` rows: the first ones, again from the start if there are fewer.

    Rows that were computed with a gradient take one, but it ends here; labels and a teacher's rows take none.
    """

    def taken(rows: torch.Tensor) -> torch.Tensor:
        chosen = rows.detach()[torch.arange(count, device=rows.device) % len(rows)]
        return chosen.requires_grad_(rows.requires_grad)

    return outputs.map(taken)


def extrapolate(counts: dict[int, int], size: int) -> int:
    """Return the value at ``size`` of the parabola through three counts, in exact integers."""
    (x0, y0), (x1, y1), (x2, y2) = sorted(counts.items())
    first = y0 * (size - x1) * (size - x2) * (x2 - x1)
    second = y1 * (size - x0) * (size - x2) * (x2 - x0)
    third = y2 * (size - x0) * (size - x1) * (x1 - x0)
    return round((first - second + third) / ((x1 - x0) * (x2 - x0) * (x2 - x1)))


def set_train_mode(method: Method) -> None:
    """Set training mode, but evaluation mode (no dropout) for frozen towers and backbones."""
    method.train()
    for tower in method.encoder.towers.values():
        if not any(p.requires_grad for p in tower.parameters()):
            tower.eval()
        elif tower.backbone.frozen:
            tower.backbone.eval()
