"""Stop at NaN or infinity: name the tensor and the step, and save the batch for inspection."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from limbeck.data.batches import Batch
from limbeck.encoders.tensors import save_tensors
from limbeck.errors import LimbeckError
from limbeck.files import Kind, atomic_dir, write_json
from limbeck.methods import Losses, Method, Outputs

KEPT = Kind("kept batch", r"batch\.(json|safetensors)")


def check_losses(
    losses: Losses, outputs: Outputs, batch: Batch, *, step: int, stage: str, folder: Path
) -> None:
    """Raise `LimbeckError` if the loss is not finite; name the first bad input, output or loss part."""
    if torch.isfinite(losses.total):
        return
    bad = _bad_inputs(batch)
    bad += [f"rows {name}" for name, value in outputs.tensors().items() if _is_bad(value)]
    bad += [f"part {name}" for name, value in losses.parts.items() if _is_bad(value)]
    _stop(bad[0] if bad else "sum", "loss", batch, step=step, stage=stage, folder=folder)


def check_gradients(
    norm: torch.Tensor, method: Method, batch: Batch, *, step: int, stage: str, folder: Path
) -> None:
    """Raise `LimbeckError` if the gradient norm is not finite; name the first bad input or weight."""
    if torch.isfinite(norm):
        return
    bad = _bad_inputs(batch)
    bad += [
        f"gradient of {name}"
        for name, p in method.named_parameters()
        if p.grad is not None and _is_bad(p.grad)
    ]
    named = bad[0] if bad else "norm of the gradients"
    _stop(named, "gradient", batch, step=step, stage=stage, folder=folder)


def _stop(named: str, what: str, batch: Batch, *, step: int, stage: str, folder: Path) -> None:
    kept = folder / f"not-finite-{step + 1:08d}"
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        kept = kept.with_name(f"{kept.name}-{dist.get_rank()}")  # each process has a part of the batch
    with atomic_dir(kept, replaces=KEPT) as aside:
        save_tensors(aside / "batch.safetensors", dict(batch.tensors()))
        write_json(aside / "batch.json", {"step": step + 1, "stage": stage, "bad": named, "ids": batch.ids})
    raise LimbeckError(
        f"stage {stage}: {what} is not finite at step {step + 1} (first in: {named}); "
        f"the batch is saved in {kept}; lower optim.lr or check the features",
        code="E-TRAIN-NONFINITE",
    )


def _bad_inputs(batch: Batch) -> list[str]:
    return [f"input {name}" for name, value in batch.tensors() if _is_bad(value)]


def _is_bad(value: torch.Tensor) -> bool:
    return value.is_floating_point() and not bool(torch.isfinite(value).all())
