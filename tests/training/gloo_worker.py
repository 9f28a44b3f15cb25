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
from limbeck.training.processes import average_gradients
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from limbeck.training.step import forward_backward

LATE = TrainState(step=5, total_steps=10, epoch=5, seed=0)  # past every warm-up
# At its start, the part of a picture that a phrase is about is almost the whole picture. The angle of the two
# has a gradient that float32 cannot resolve, whatever the order of the sums.
IN_DOUBLE = {"hyper3", "hycoclip", "uncha"}


def gradients(
    recipe: dict[str, Any],
    *,
    rank: int = 0,
    world: int = 1,
    step: int = 0,
    chunk: int | None = None,
    state: TrainState = LATE,
) -> tuple[dict[str, torch.Tensor], float]:
    """Gradients by parameter, and the loss, of one step of a recipe's first stage."""
    method, batch = method_and_batch(recipe, rank=rank, world=world, step=step)
    if recipe["stages"].keys() & IN_DOUBLE:
        method.double()
        batch = batch._map(lambda rows: rows.double() if rows.is_floating_point() else rows, batch.ids)
    losses, _ = forward_backward(method, batch, state, Fabric(accelerator="cpu", devices=1), chunk)
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


def worker(rank: int, world: int, folder: str, recipes: dict[str, dict[str, Any]]) -> None:
    """Entry of `torch.multiprocessing.spawn`: whole and chunked gradients per recipe into ``folder``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    found = {}
    for name, recipe in recipes.items():
        whole, loss = gradients(recipe, rank=rank, world=world)
        chunked, _ = gradients(recipe, rank=rank, world=world, chunk=3)
        found[name] = {"whole": whole, "chunked": chunked, "loss": loss}
    torch.save(found, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


def on_two_processes(folder: Path, recipes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What both processes found, by the names of the recipes."""
    torch.multiprocessing.spawn(worker, args=(2, str(folder), recipes), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]
