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
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limbeck.data.batches import Batch, Batches
from limbeck.errors import LimbeckError
from limbeck.methods import Losses, Method, Outputs, TrainState
from limbeck.training.checkpoint import BestModel, CheckpointFolder
from limbeck.training.cost import SAMPLES, StageClock, extrapolate
from limbeck.training.gather import average_gradients, gather_outputs
from limbeck.training.metrics_log import MetricsLog, ProgressLine
from limbeck.training.nonfinite import check_gradients, check_losses
from limbeck.training.optim import Schedule, build_optimizer
from limbeck.training.recipe import StageConfig


class Interrupted(Exception):
    """Raised when a signal stopped training, after the state was saved."""


@dataclass
class FitResult:
    """The outcome of a stage.

    Attributes:
        steps: training steps done.
        seconds: wall-clock time, validation included.
        best_step, best_score: the best validated step and its score, if there was validation.
        best: directory of the best model; None on other processes than the first.
    """

    steps: int
    seconds: float
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
    identity: dict[str, Any],
    also: Mapping[str, Sequence[Any]] | None = None,
    say: Callable[[str], None] | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
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
        quiet: print no progress line.

    Raises:
        Interrupted: after SIGINT or SIGTERM, once the state is saved.
        LimbeckError: the loss or a gradient is not finite; a checkpoint is damaged or of another recipe.
    """
    plan = stage.schedule
    total = plan.steps if plan.steps is not None else math.ceil((plan.epochs or 0) * batches.steps_per_epoch)
    validate_every = plan.validate_every or max(1, min(batches.steps_per_epoch, math.ceil(total / 5)))
    optimizer, names = build_optimizer(method, stage.optim)
    schedule = Schedule(optimizer, total=total, warmup=stage.optim.warmup)
    store = CheckpointFolder(folder, identity=identity, also=also, say=say)
    progress = store.restore(method, optimizer, names)
    log = MetricsLog(folder / "metrics.jsonl", resume_step=progress.step)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    began = time.monotonic() - progress.seconds
    main = fabric.is_global_zero
    line = ProgressLine(stage.name, total, progress.step, batches.batch_size, quiet=quiet or not main)
    spent = progress.extra.get("training_seconds", 0.0)
    clock = StageClock(folder, batches.batch_size, step=progress.step, seconds=spent) if main else None
    trains = False  # whether train modes are set; validation changes them
    with line, _stop_flag() as stop:
        for step, batch in enumerate(batches.iterate(progress.step, total), start=progress.step):
            state = TrainState(step=step, total_steps=total, epoch=batches.epoch(step), seed=seed)
            if not trains:  # the walk over all modules takes half as long as a small step
                set_train_mode(method)
                trains = True
            lr = schedule.set(step)
            losses, outputs = forward_backward(method, batch.to(fabric.device), state, fabric, plan.chunk)
            check_losses(losses, outputs, batch, step=step, stage=stage.name, folder=folder)
            average_gradients(parameters)
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            check_gradients(norm, method, batch, step=step, stage=stage.name, folder=folder)
            torch.nn.utils.clip_grads_with_norm_(parameters, stage.optim.clip_norm or math.inf, norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            method.after_step(outputs, state)

            done = step + 1
            progress.step = done
            validated: dict[str, float] = {}
            if validate is not None and (done % validate_every == 0 or done == total):
                with clock.pause() if clock else contextlib.nullcontext():
                    validated = validate()
                trains = False
                if progress.best_score is None or validated["score"] > progress.best_score:
                    progress.best_score, progress.best_step = validated["score"], done
                    if main and plan.select == "best":
                        BestModel.save(method, folder, progress)
            if main and (validated or done % plan.log_every == 0 or done == total):
                log.write(_row(done, state.epoch, lr, losses, validated))
                if clock:
                    clock.note(done)
            note = f"loss {losses.value:.4f}" + (f"  val {validated['score']:.4f}" if validated else "")
            line.update(done, note if validated or done % plan.log_every == 0 else None)
            progress.seconds = time.monotonic() - began
            if clock:
                progress.extra["training_seconds"] = round(clock.seconds, 3)
            if main and (done % plan.checkpoint_every == 0 or done == total or stop.is_set()):
                store.save(method, optimizer, names, progress)
            if stop.is_set():
                raise Interrupted
    if not total and validate is not None and progress.best_score is None:
        # A stage without steps (sign codes, ITQ) is validated once, so that a grid can tune earlier stages.
        validated = validate()
        progress.best_score, progress.best_step = validated["score"], 0
        if main:
            log.write({"step": 0} | {f"val/{name}": value for name, value in validated.items()})
    if clock:
        count = partial(count_flops, method, batches, fabric, seed)
        clock.finish(progress.step, count if total else None)
    try:
        best = BestModel.find(folder, progress.extra) if main and progress.best_step else None
    except LimbeckError as error:
        raise LimbeckError(f"{error}; add --resume to continue from an older checkpoint") from None
    return FitResult(progress.step, progress.seconds, progress.best_step, progress.best_score, best)


def forward_backward(
    method: Method, batch: Batch, state: TrainState, fabric: Fabric, chunk: int | None
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

    Returns:
        The losses, and the outputs of all processes.
    """
    size = len(batch)
    if chunk is None or chunk >= size:
        with fabric.autocast():
            own = method.encode_batch(batch)
        outputs = gather_outputs(own.map(_float32))
        return _loss_backward(method, outputs, state), outputs
    chunks = [batch.part(start, min(start + chunk, size)) for start in range(0, size, chunk)]
    states, parts = [], []
    with torch.no_grad():
        for part in chunks:
            states.append(_random_state())
            with fabric.autocast():
                parts.append(method.encode_batch(part).map(_float32))
    after = _random_state()
    leaves = type(parts[0]).concatenate(parts).map(lambda x: x.requires_grad_(x.is_floating_point()))
    outputs = gather_outputs(leaves)
    losses = _loss_backward(method, outputs, state)
    gradients = {name: leaf.grad for name, leaf in leaves.tensors().items()}
    start = 0
    for part, random_state in zip(chunks, states, strict=True):
        _set_random_state(random_state)
        with fabric.autocast():
            again = method.encode_batch(part).map(_float32)
        stop = start + len(part)
        pairs = [
            (rows, grad[start:stop])
            for name, rows in again.tensors().items()
            if rows.requires_grad and (grad := gradients[name]) is not None
        ]
        if pairs:
            torch.autograd.backward([rows for rows, _ in pairs], [grad for _, grad in pairs])
        start = stop
    _set_random_state(after)
    return losses, outputs


def _loss_backward(method: Method, outputs: Outputs, state: TrainState) -> Losses:
    method.update_buffers(outputs, state)
    losses = method.loss(outputs, state)
    losses.total.backward()
    return losses


def count_flops(
    method: Method,
    batches: Batches,
    fabric: Fabric,
    seed: int,
    *,
    size: int | None = None,
    counted: tuple[int, int, int] = SAMPLES,
) -> int:
    """Count the floating-point operations of one forward and backward pass, two per multiply-add.

    torch counts matrix products, convolutions and attention; the rest is small. The count is taken on three
    small batches and extrapolated to the batch size. It uses plain attention, since fused kernels are not
    counted on every device. Cached outputs, such as a teacher's, count as zero; work that ``chunk`` does
    twice counts once. The method's weights and the random state stay unchanged.

    Args:
        method: the method to measure.
        batches: source of the pairs.
        fabric: device and precision.
        seed: seed of the `TrainState`.
        size: pairs per batch to extrapolate to; default: that of ``batches``.
        counted: the three sizes to count.
    """
    batch, before = batches.at(0).to(fabric.device), _random_state()
    state = TrainState(step=0, total_steps=1, epoch=0, seed=seed)
    set_train_mode(method)
    counts: dict[int, int] = {}
    size, own = size or batches.batch_size, len(batch)
    small = own < counted[-1] * 2 and own == size
    if own < counted[-1]:  # a process's share of a small batch
        counted = (2, 3, 4)
    for pairs in (own,) if small else counted:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            with fabric.autocast():
                outputs = method.encode_batch(batch.part(0, pairs)).map(_float32)
            method.loss(outputs, state).total.backward()
        counts[pairs] = counter.get_total_flops()
        method.zero_grad(set_to_none=True)
    _set_random_state(before)
    return counts[own] if small else extrapolate(counts, size)


def set_train_mode(method: Method) -> None:
    """Set training mode, but evaluation mode (no dropout) for frozen towers and backbones."""
    method.train()
    for tower in method.encoder.towers.values():
        if not any(p.requires_grad for p in tower.parameters()):
            tower.eval()
        elif tower.backbone.frozen:
            tower.backbone.eval()


def _row(step: int, epoch: int, lr: float, losses: Losses, validated: dict[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step, "epoch": epoch, "lr": lr, "loss": losses.value}
    row |= {f"loss/{name}": float(value) for name, value in losses.parts.items()}
    row |= {name: float(value) for name, value in losses.monitors.items()}
    return row | {f"val/{name}": value for name, value in validated.items()}


def _float32(rows: torch.Tensor) -> torch.Tensor:
    return rows.float() if rows.is_floating_point() else rows


def _random_state() -> tuple[torch.Tensor, torch.Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])


@contextlib.contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets, so that the loop can finish and save the current step."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
