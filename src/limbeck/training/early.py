"""Stages checked against each other before the first step, each built on untrained models of those before.

What a method asks of its towers, its teacher and the data is checked when it is built; so a stage that cannot
work is refused at once, and not after the stages before it have trained.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck.data.batches import Batches
from limbeck.data.inputs import Input
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.text_memory import remembered
from limbeck.errors import LimbeckError
from limbeck.methods import Method, TrainState
from limbeck.training.data import Data
from limbeck.training.recipe import Recipe, StageConfig
from limbeck.training.stages import build_method, input_readers

PAIRS = 8


@dataclass(frozen=True)
class Built:
    """A stage with its method, its inputs by name, and what of the data it sees."""

    stage: StageConfig
    method: Method
    specs: dict[str, Input]
    data: Data


def build_stages(recipe: Recipe, data: Data, folder: Path) -> Iterator[Built]:
    """Build the stages one after the other; their models are left in ``folder`` as a run leaves them.

    Raises:
        LimbeckError: a stage does not fit its data, its towers, or a model that it reads.
    """
    models: dict[str, Path] = {}
    for stage in recipe.stages:
        own = data.of_stage(stage, recipe.seed)
        method, specs = build_method(stage, own, models, recipe.seed, say=lambda line: None)
        models[stage.name] = folder / "stages" / stage.name / "model"
        method.encoder.save(models[stage.name])
        if stage is recipe.stages[-1]:
            method.encoder.save(folder / "model")
        yield Built(stage, method, specs, own)


@torch.no_grad()
def look(built: Built, seed: int) -> None:
    """The loss of a few pairs: what a method asks of its space and its inputs shows in the first batch.

    Raises:
        LimbeckError: a space without an answer to the method, a picture that cannot be read.
    """
    method = built.method
    if built.stage.schedule.steps == 0 or method.needs_features:
        return
    sources = input_readers(method, built.specs, built.data.train)
    batches = Batches(
        built.data.train, sources, batch_size=min(PAIRS, built.stage.schedule.batch_size), seed=seed
    )
    method.train()
    outputs, state = method.encode_batch(batches.at(0)), TrainState(0, 1, 0, seed)
    method.update_buffers(outputs, state)
    method.loss(outputs, state)


def check_stages(recipe: Recipe, data: Data) -> None:
    """Build every stage and keep nothing; a single stage is built at its own beginning anyway.

    Raises:
        LimbeckError: see `build_stages`; the stage is named.
    """
    if len(recipe.stages) < 2:
        return
    done: list[str] = []
    cache = BackboneCache().folder if recipe.cache else None
    with tempfile.TemporaryDirectory() as scratch, remembered(cache):  # what is encoded here serves the run
        try:
            for built in build_stages(recipe, data, Path(scratch)):
                look(built, recipe.seed)
                done.append(built.stage.name)
        except LimbeckError as error:
            name = recipe.stages[len(done)].name
            said = str(error)
            raise LimbeckError(said if f"stages.{name}" in said else f"stages.{name}: {said}") from None
