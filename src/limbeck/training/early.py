"""Check all stages before the first step, each built on the untrained models of the stages before it.

A method checks its towers, its teacher and the data when it is built. Building all stages first refuses a
stage that cannot work at once, instead of after the earlier stages have trained.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck.data.batches import Batches
from limbeck.errors import LimbeckError
from limbeck.methods import Method, TrainState
from limbeck.training.data import Data
from limbeck.training.recipe import Recipe, StageConfig
from limbeck.training.stages import backbone_cache, build_method, input_readers

PAIRS = 8


@dataclass(frozen=True)
class Built:
    """A stage with its method and the data that it sees."""

    stage: StageConfig
    method: Method
    data: Data


def build_stages(recipe: Recipe, data: Data, folder: Path) -> Iterator[Built]:
    """Build the stages one after the other, and save their models in ``folder`` as a run does.

    Raises:
        LimbeckError: a stage does not fit its data, its towers, or a model that it reads.
    """
    models: dict[str, Path] = {}
    cache = backbone_cache(recipe)  # the run reuses what is encoded here
    for stage in recipe.stages.values():
        own = data.of_stage(stage, recipe.seed)
        method = build_method(stage, own, models, recipe.seed, cache=cache, say=lambda line: None)
        models[stage.name] = folder / "stages" / stage.name / "model"
        method.encoder.save(models[stage.name])
        if stage is recipe.last:
            method.encoder.save(folder / "model")
        yield Built(stage, method, own)


@torch.no_grad()
def look(built: Built, seed: int) -> None:
    """Compute the loss of a few pairs, which shows whether the space and the inputs suit the method.

    Raises:
        LimbeckError: the space does not support the method, or a picture cannot be read.
    """
    method = built.method
    if built.stage.schedule.steps == 0 or method.needs_features:
        return
    sources = input_readers(method, built.data.train)
    batches = Batches(
        built.data.train, sources, batch_size=min(PAIRS, built.stage.schedule.batch_size), seed=seed
    )
    method.train()
    outputs, state = method.encode_batch(batches.at(0)), TrainState(0, 1, 0, seed)
    method.update_buffers(outputs, state)
    method.loss(outputs, state)


def check_stages(recipe: Recipe, data: Data) -> None:
    """Build every stage and keep nothing; a single stage is checked when its training begins.

    Raises:
        LimbeckError: see `build_stages`; the stage is named. ``choose`` has no held-out pairs to measure on.
    """
    if recipe.choose and not len(data.held_out):
        raise LimbeckError(
            f"choose: no pairs are held out of train to measure {', '.join(recipe.choose)} on; "
            "use a protocol whose train is larger, or remove choose",
            code="E-CONFIG-VALUE",
        )
    if len(recipe.stages) < 2:
        return
    done: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for built in build_stages(recipe, data, Path(scratch)):
                look(built, recipe.seed)
                done.append(built.stage.name)
        except LimbeckError as error:
            name = list(recipe.stages)[len(done)]
            text = str(error)
            raise LimbeckError(
                text if f"stages.{name}" in text else f"stages.{name}: {text}", code=error.code
            ) from None
