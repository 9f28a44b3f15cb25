"""Where logged rows go: ``metrics.jsonl`` always, TensorBoard and Weights & Biases on request."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from limbeck.files import sha256_json
from limbeck.optional_deps import require
from limbeck.training.recipe import StageConfig
from limbeck.typed import Json

Row = Mapping[str, Json]


class Logger(Protocol):
    """A place that takes the rows of one stage."""

    def write(self, row: Row) -> None:
        """Take a row: its ``step``, and numbers by name."""

    def close(self) -> None:
        """Write what is still in memory."""


class TensorBoard:
    """Event files in ``RUN/tensorboard/STAGE``, which ``tensorboard --logdir RUN`` shows."""

    def __init__(self, run: Path, stage: str, resume_step: int) -> None:
        """Open a writer; events after ``resume_step``, from before a kill, are hidden."""
        module = require("torch.utils.tensorboard")
        folder = run / "tensorboard" / stage
        self.writer = module.SummaryWriter(str(folder), purge_step=resume_step + 1 if resume_step else None)

    def write(self, row: Row) -> None:
        """Add one point per number."""
        for name, value in _numbers(row).items():
            self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flush the event file."""
        self.writer.close()


class WandB:
    """A run of Weights & Biases per stage, offline unless ``WANDB_MODE`` says otherwise.

    Files are in ``RUN/wandb``; ``wandb sync`` uploads them. The project is ``WANDB_PROJECT``, else limbeck. A
    resumed stage continues its run.
    """

    def __init__(self, run: Path, stage: str, config: Mapping[str, Json]) -> None:
        """Start the run."""
        wandb = require("wandb")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "limbeck"),
            name=f"{run.name}-{stage}",
            id=sha256_json([str(run.resolve()), stage])[:16],
            resume="allow",
            dir=str(run),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=dict(config),
            settings=wandb.Settings(silent=True),
        )

    def write(self, row: Row) -> None:
        """Log the numbers of a row at its step."""
        self.run.log(_numbers(row), step=row["step"])

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


class Loggers:
    """Several loggers as one."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = loggers

    def write(self, row: Row) -> None:
        """Pass a row to each logger."""
        for logger in self.loggers:
            logger.write(row)

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, *error: object) -> None:
        for logger in self.loggers:
            logger.close()


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers whose package is missing, before any work.

    Raises:
        LimbeckError: the message names the extra.
    """
    for name in names:
        require(name)


def open_loggers(names: Sequence[str], run: Path, stage: StageConfig, resume_step: int) -> list[Logger]:
    """Open the loggers that a recipe names for a stage that continues from ``resume_step``."""
    found: list[Logger] = []
    if "tensorboard" in names:
        found.append(TensorBoard(run, stage.name, resume_step))
    if "wandb" in names:
        found.append(WandB(run, stage.name, stage.model_dump(mode="json")))
    return found


def _numbers(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step" and isinstance(value, int | float)}
