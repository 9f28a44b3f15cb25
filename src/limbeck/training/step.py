"""One training step: from a batch to the gradients of its loss, on one process or several."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning_fabric import Fabric

from limbeck.data.batches import Batch
from limbeck.methods import Losses, Method, Outputs, TrainState
from limbeck.training.processes import gathered
from limbeck.training.profiling import phase

Scale = Callable[[torch.Tensor], torch.Tensor]


def forward_backward(
    method: Method,
    batch: Batch,
    state: TrainState,
    fabric: Fabric,
    chunk: int | None,
    scale: Scale | None = None,
) -> tuple[Losses, Outputs]:
    """Compute the loss of the global batch and its gradients.

    With ``chunk``, this uses gradient caching (Gao et al. 2021): pairs are encoded in chunks without a graph,
    the loss is computed on all of them, and each chunk is encoded again with the same random state to
    back-propagate its gradient. A step then needs the memory of one chunk but has the negatives of the whole
    batch.

    Args:
        method: the method to train.
        batch: the pairs of this process.
        state: step, epoch and seed.
        fabric: precision and processes.
        chunk: pairs per chunk; None encodes the batch at once.
        scale: multiplies the loss before the backward pass (fp16); by default the loss is not scaled.

    Returns:
        The losses, and the outputs of all processes.
    """
    size = len(batch)
    if chunk is None or chunk >= size:
        with phase("forward"), fabric.autocast():
            own = method.encode_batch(batch)
        outputs = gathered(own.map(float32))
        return _loss_backward(method, outputs, state, scale), outputs
    chunks = [batch.part(start, min(start + chunk, size)) for start in range(0, size, chunk)]
    states, parts = [], []
    with phase("forward"), torch.no_grad():
        for part in chunks:
            states.append(random_state())
            with fabric.autocast():
                parts.append(method.encode_batch(part).map(float32))
    after = random_state()
    leaves = type(parts[0]).concatenate(parts).map(lambda x: x.requires_grad_(x.is_floating_point()))
    outputs = gathered(leaves)
    losses = _loss_backward(method, outputs, state, scale)
    gradients = {name: leaf.grad for name, leaf in leaves.tensors().items()}
    start = 0
    for part, saved in zip(chunks, states, strict=True):
        set_random_state(saved)
        with phase("forward"), fabric.autocast():
            again = method.encode_batch(part).map(float32)
        stop = start + len(part)
        pairs = [
            (rows, grad[start:stop])
            for name, rows in again.tensors().items()
            if rows.requires_grad and (grad := gradients[name]) is not None
        ]
        if pairs:
            with phase("backward"):
                torch.autograd.backward([rows for rows, _ in pairs], [grad for _, grad in pairs])
        start = stop
    set_random_state(after)
    return losses, outputs


def _loss_backward(method: Method, outputs: Outputs, state: TrainState, scale: Scale | None) -> Losses:
    method.update_buffers(outputs, state)
    with phase("forward"):
        losses = method.loss(outputs, state)
    with phase("backward"):
        (losses.total if scale is None else scale(losses.total)).backward()
    return losses


def float32(rows: torch.Tensor) -> torch.Tensor:
    """Return half floats as float32, and other rows as they are."""
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows


def random_state() -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the states of the random numbers of CPU and GPU."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def set_random_state(state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
