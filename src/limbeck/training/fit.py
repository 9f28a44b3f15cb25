"""The training loop, which is the same for every method."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lightning_fabric import Fabric

from limbeck.data.batches import Batches
from limbeck.errors import LimbeckError
from limbeck.methods import Losses, Method, TrainState
from limbeck.training.checkpoint import BestModel, CheckpointFolder
from limbeck.training.cost import StageClock
from limbeck.training.figures import WeightGrowth, batch_figures
from limbeck.training.flops import count_flops, set_train_mode
from limbeck.training.health import Watch
from limbeck.training.loggers import Logger, Loggers
from limbeck.training.metrics_log import MetricsLog, ProgressLine
from limbeck.training.nonfinite import check_gradients, check_losses
from limbeck.training.processes import any_process, barrier
from limbeck.training.profiling import Profile, phase, waited
from limbeck.training.recipe import StageConfig
from limbeck.training.spikes import Spikes
from limbeck.training.step import forward_backward
from limbeck.training.symptoms import Log
from limbeck.training.update import Update
from limbeck.typed import Json


class Interrupted(Exception):
    """Raised when a signal stopped training, after the state was saved.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.signal = number


@dataclass
class FitResult:
    """The outcome of a stage.

    Attributes:
        steps: training steps done.
        seconds: wall-clock time of all processes that trained it, validation included.
        earlier: the part of it before a stop, 0 without one.
        best_step, best_score: the best validated step and its score, if there was validation.
        best: directory of the best model; None on other processes than the first.
    """

    steps: int
    seconds: float
    earlier: float
    best_step: int | None
    best_score: float | None
    best: Path | None


def fit(
    method: Method,
    batches: Batches,
    stage: StageConfig,
    fabric: Fabric,
    folder: Path,
    *,
    seed: int,
    identity: dict[str, Json],
    also: Mapping[str, Sequence[object]] | None = None,
    say: Callable[[str], None] | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
    loggers: Callable[[int], Sequence[Logger]] | None = None,
    scaled: bool = False,
    profile: bool = False,
    quiet: bool = False,
) -> FitResult:
    """Train one stage, from its newest checkpoint if ``folder`` holds one.

    Args:
        method: the method on ``fabric.device``, with frozen parts already marked.
        batches: the training batches.
        stage: configuration of optimizer and schedule.
        fabric: device, precision and processes.
        folder: directory of the stage; receives ``metrics.jsonl``, ``state-*/`` and ``best-*/``.
        seed: seed that methods get in `TrainState`.
        identity, also, say: see `CheckpointFolder`.
        validate: returns numbers, of which ``score`` (higher is better) selects the best step.
        loggers: opens loggers beside ``metrics.jsonl``, from the step that training resumes at.
        scaled: scale the loss for fp16.
        profile: write a trace of some steps, and print where the time goes.
        quiet: print no progress line.

    Raises:
        Interrupted: after SIGINT or SIGTERM, once the state is saved.
        LimbeckError: the loss or a gradient is not finite; a checkpoint is damaged or of another recipe.
    """
    plan = stage.schedule
    total = plan.steps if plan.steps is not None else batches.steps(plan.epochs or 0)
    validate_every = plan.validate_every or max(1, min(batches.steps_per_epoch, math.ceil(total / 5)))
    update = Update(method, stage.optim, total=total, scaled=scaled)
    store = CheckpointFolder(folder, identity=identity, also=also, keep=plan.keep, say=say)
    progress = store.restore(method, update)
    more = loggers(progress.step) if loggers is not None and fabric.is_global_zero else ()
    log = Loggers([MetricsLog(folder / "metrics.jsonl", resume_step=progress.step), *more])
    growth = WeightGrowth(update.parameters, progress.extra)
    spikes = Spikes(stage.optim.skip_spikes, progress.extra, fabric.broadcast)
    earlier = progress.seconds
    began = time.monotonic() - earlier
    main = fabric.is_global_zero
    line = ProgressLine(stage.name, total, progress.step, batches.batch_size, quiet=quiet or not main)
    spent = progress.extra.get("training_seconds", 0.0)
    clock = StageClock(folder, batches.batch_size, step=progress.step, seconds=spent) if main else None
    trains = False  # whether train modes are set; validation changes them
    health = Log.of(stage, method.encoder.lift.config, method.config, epoch_steps=batches.steps_per_epoch)
    watch = Watch(health, total, line.say)
    trace = Profile(folder, progress.step, total) if profile and main else None
    with line, log, _stop_flag() as stop:
        for step, batch in enumerate(waited(batches.iterate(progress.step, total)), start=progress.step):
            if trace:
                trace.before(step)
            state = TrainState(step=step, total_steps=total, epoch=batches.epoch(step), seed=seed)
            if not trains:  # the walk over all modules takes half as long as a small step
                set_train_mode(method)
                trains = True
            lr = update.schedule.set(step)
            losses, outputs = forward_backward(
                method, batch.to(fabric.device), state, fabric, plan.chunk, update.scaler.scale
            )
            check_losses(losses, outputs, batch, step=step, stage=stage.name, folder=folder)
            with phase("backward"):
                norm = update.gradients()
            overflowed = update.overflowed(norm)
            if not overflowed:
                check_gradients(norm, method, batch, step=step, stage=stage.name, folder=folder)
            with phase("optimizer"):
                if not overflowed and spikes.skips(losses.value, float(norm)):
                    update.skip()
                else:
                    update.apply(norm, outputs, state)

            done = step + 1
            for told in trace.after(done) if trace else ():
                line.say(told)
            progress.step = done
            validated: dict[str, float] = {}
            if validate is not None and (done % validate_every == 0 or done == total):
                with clock.pause() if clock else contextlib.nullcontext(), update.shown():
                    validated = validate()
                trains = False
                if progress.best_score is None or validated["score"] > progress.best_score:
                    progress.best_score, progress.best_step = validated["score"], done
                    if main and plan.select == "best":
                        with update.shown():
                            BestModel.save(method, folder, progress)
            if main and (validated or done % plan.log_every == 0 or done == total):
                scale = {"loss_scale": update.scaler.get_scale()} if scaled else {}
                figures = (
                    scale | {"grad_norm": float(norm)} | growth() | batch_figures(batch) | spikes.figures
                )
                row = _row(done, state.epoch, lr, losses, figures, validated)
                log.write(row)
                watch.see(row)
                if clock:
                    clock.note(done)
            note = f"loss {losses.value:.4f}" + (f"  val {validated['score']:.4f}" if validated else "")
            line.update(done, note if validated or done % plan.log_every == 0 else None)
            progress.seconds = time.monotonic() - began
            if clock:
                progress.extra["training_seconds"] = round(clock.seconds, 3)
            stopped = any_process(bool(stop), fabric.device)
            if done % plan.checkpoint_every == 0 or done == total or stopped:
                store.save(method, update, progress)
            if stopped:
                barrier(fabric)  # no process ends before the state is saved
                raise Interrupted(stop[0] if stop else signal.SIGTERM)
    if not total and validate is not None and progress.best_score is None:
        # A stage without steps (sign codes, ITQ) is validated once, so that a grid can tune earlier stages.
        validated = validate()
        progress.best_score, progress.best_step = validated["score"], 0
        if main:
            log.write({"step": 0} | {f"val/{name}": value for name, value in validated.items()})
    count = partial(count_flops, method, batches, fabric, seed)
    if clock:
        clock.finish(progress.step, count if total else None)
    elif total:
        count()  # as the first process does, since a sharded teacher runs on all or none
    if update.average is not None and total:
        update.average.swap()  # the caller saves what was validated
    try:
        best = BestModel.find(folder, progress.extra) if main and progress.best_step else None
    except LimbeckError as error:
        raise LimbeckError(
            f"{error}; add --resume to continue from an older checkpoint", code=error.code
        ) from None
    return FitResult(progress.step, progress.seconds, earlier, progress.best_step, progress.best_score, best)


def _row(
    step: int,
    epoch: int,
    lr: float,
    losses: Losses,
    figures: dict[str, float],
    validated: dict[str, float],
) -> dict[str, float | int | None]:
    row: dict[str, float | int | None] = {"step": step, "epoch": epoch, "lr": lr, "loss": losses.value}
    row |= {f"loss/{name}": float(value) for name, value in losses.parts.items()}
    row |= {name: float(value) for name, value in losses.monitors.items()}
    return row | figures | {f"val/{name}": value for name, value in validated.items()}


@contextlib.contextmanager
def _stop_flag() -> Iterator[list[int]]:
    """Yield a list that receives SIGINT or SIGTERM, so that the loop can finish and save the current step."""
    stop: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        s: signal.signal(s, lambda number, _: stop.append(number)) for s in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
