"""One of several processes that share a batch over gloo, and what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from limbeck.data.batches import Batch, Batches
from limbeck.methods import Method, TrainState
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from limbeck.training.step import average_gradients, forward_backward


def gradients(
    recipe: dict[str, Any], *, rank: int = 0, world: int = 1, step: int = 0, chunk: int | None = None
) -> tuple[dict[str, torch.Tensor], float]:
    """Gradients by parameter, and the loss, of one step of a recipe's first stage."""
    method, batch = method_and_batch(recipe, rank=rank, world=world, step=step)
    losses, _ = forward_backward(
        method, batch, TrainState(step, 10, 0, 0), Fabric(accelerator="cpu", devices=1), chunk
    )
    average_gradients([p for p in method.parameters() if p.requires_grad])
    return {n: p.grad for n, p in method.named_parameters() if p.grad is not None}, losses.value


def method_and_batch(
    recipe: dict[str, Any], *, rank: int = 0, world: int = 1, step: int = 0
) -> tuple[Method, Batch]:
    """The first stage's method and its share of the batch of a step."""
    resolved = load_recipe(recipe)
    data = open_data(resolved)
    method = build_method(next(iter(resolved.stages.values())), data, {}, resolved.seed)
    batches = Batches(
        data.train,
        input_readers(method, data.train),
        batch_size=next(iter(resolved.stages.values())).schedule.batch_size,
        seed=0,
        rank=rank,
        world=world,
    )
    return method, batches.at(step)


def worker(rank: int, world: int, folder: str, recipe: dict[str, Any]) -> None:
    """Entry of `torch.multiprocessing.spawn`: whole and chunked gradients of this rank into ``folder``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    whole, loss = gradients(recipe, rank=rank, world=world)
    chunked, _ = gradients(recipe, rank=rank, world=world, chunk=3)
    torch.save({"whole": whole, "chunked": chunked, "loss": loss}, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()
