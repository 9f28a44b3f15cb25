"""Measure how fast a recipe trains on this machine with a few steps whose result is discarded."""

from __future__ import annotations

import statistics
import time

from limbeck.data.batches import Batches
from limbeck.methods import TrainState
from limbeck.pictures.decoding import default_workers
from limbeck.training.data import open_data
from limbeck.training.flops import set_train_mode
from limbeck.training.recipe import Recipe
from limbeck.training.run import start_fabric
from limbeck.training.stages import build_method, input_readers
from limbeck.training.step import forward_backward


def pairs_per_second(recipe: Recipe, *, steps: int = 12) -> float:
    """Return pairs per second of the first stage: data, forward and backward of the median step.

    The first two steps are not measured, and no weight is updated.

    Args:
        recipe: a resolved recipe with ``data.pairs``.
        steps: number of measured steps.
    """
    fabric = start_fabric(recipe)
    stage = next(iter(recipe.stages.values()))
    data = open_data(recipe).of_stage(stage, recipe.seed)
    method = build_method(stage, data, {}, recipe.seed)
    method.to(fabric.device)
    set_train_mode(method)
    batches = Batches(
        data.train,
        input_readers(method, data.train),
        batch_size=stage.schedule.batch_size,
        seed=recipe.seed,
        window=recipe.data.window,
        workers=recipe.compute.workers or default_workers(recipe.compute.devices),
    )
    seconds, began = [], time.perf_counter()
    for step, batch in enumerate(batches.iterate(0, steps + 2)):
        state = TrainState(step, steps, 0, recipe.seed)
        forward_backward(method, batch, state, fabric, stage.schedule.chunk)
        now = time.perf_counter()
        seconds.append(now - began)
        began = now
    return batches.batch_size / statistics.median(seconds[2:])
