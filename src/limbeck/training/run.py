"""A whole run: resolve the recipe, train its stages in order, leave ``model/`` behind."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.evaluation.environment import environment
from limbeck.files import read_json, remove_leftovers, write_atomic, write_json
from limbeck.training.data import Data, open_data
from limbeck.training.recipe import Recipe, load_recipe
from limbeck.training.stages import recipe_identity, run_stage, stage_facts


def train(
    recipe: str | Path | dict[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    pairs: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    overrides: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Train a recipe into a run directory and return it; ``limbeck.load`` reads the result.

    Args:
        recipe: name, YAML file, mapping or resolved recipe.
        out: the run directory; ``runs/<recipe>-s<seed>`` by default.
        pairs: pairs directory; overrides ``data.pairs``.
        resume: go on from the newest checkpoint in ``out``; a finished run is returned as it is.
        quiet: no progress line.
        overrides: values by dotted key.
        more: overrides as keywords, such as ``seed=1`` or ``**{"lift.bits": 16}``.

    Raises:
        LimbeckError: bad recipe or data, ``out`` taken, checkpoint of another recipe.
        limbeck.training.fit.Interrupted: stopped by a signal, state saved.
    """
    changes = {**(overrides or {}), **more}
    if isinstance(recipe, Recipe) and changes:
        recipe = recipe.model_dump(mode="json")
    resolved = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, changes)
    run = default_run(resolved) if out is None else Path(out)
    resolved = _at_home_anywhere(resolved, pairs)
    if resolved.data.pairs is None:
        raise LimbeckError("recipe: data.pairs is not set; give --data DIR or data.pairs=DIR")
    # Launch first: with several processes each runs this function, and all must see the directory as it was.
    fabric = start_fabric(resolved)
    if (run / "recipe.yaml").is_file():
        if not resume:
            raise LimbeckError(
                f"{run}: holds a run already; add --resume to go on with it, or choose another --out"
            )
        if recipe_identity(load_recipe(run / "recipe.yaml")) != recipe_identity(resolved):
            raise LimbeckError(
                f"{run}: was trained with another recipe (see {run / 'recipe.yaml'}); choose another --out"
            )
        if (run / "run.json").is_file() and (run / "model" / "model.json").is_file():
            return run
    elif run.exists() and any(run.iterdir()):
        raise LimbeckError(f"{run}: exists and is not a run; choose another --out")
    fabric.barrier()
    data = open_data(resolved)
    if data.skipped and not quiet and fabric.is_global_zero:
        print(f"{data.skipped:,} rows without a text are left out of what reads texts", file=sys.stderr)
    if fabric.is_global_zero:
        write_atomic(run / "recipe.yaml", resolved.to_yaml())
    began = time.monotonic()
    models: dict[str, Path] = {}
    try:
        for stage in resolved.stages:
            models[stage.name] = run_stage(resolved, stage, data, fabric, run, models, quiet=quiet)
    except LimbeckError:
        # A run that failed before its first logged step leaves nothing behind but a batch that the guard
        # kept; later its record is kept.
        logged = any(file.stat().st_size for file in run.glob("stages/*/metrics.jsonl"))
        if not logged and not any(run.glob("stages/*/not-finite-*")):
            shutil.rmtree(run, ignore_errors=True)
        raise
    if fabric.is_global_zero:
        remove_leftovers(run)
        _finish(resolved, run, models[resolved.stages[-1].name], data, time.monotonic() - began)
    fabric.barrier()
    return run


def _at_home_anywhere(recipe: Recipe, pairs: str | Path | None) -> Recipe:
    """The recipe with absolute paths, so that its run is read from any directory."""
    data = recipe.data
    where = data.pairs if pairs is None else pairs
    rules = data.protocol
    changes = {
        "pairs": None if where is None else str(Path(where).resolve()),
        "protocol": str(Path(rules).resolve()) if Path(rules).is_file() else rules,
    }
    return recipe.model_copy(update={"data": data.model_copy(update=changes)})


def default_run(recipe: Recipe) -> Path:
    """``runs/<recipe>-s<seed>``."""
    return Path("runs") / f"{recipe.name.replace('/', '-')}-s{recipe.seed}"


def start_fabric(recipe: Recipe) -> Fabric:
    """Device, precision and processes; deterministic algorithms."""
    compute = recipe.compute
    if compute.threads is not None:
        torch.set_num_threads(compute.threads)
    precision = compute.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(compute.accelerator) else "32"
    strategy = "ddp" if compute.devices > 1 else "auto"
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator=compute.accelerator,
            devices=compute.devices,
            strategy=strategy,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
    except (RuntimeError, ValueError) as error:
        raise LimbeckError(
            f"recipe: compute.accelerator={compute.accelerator}, compute.devices={compute.devices}: "
            f"{str(error).splitlines()[0].rstrip('.')}; auto takes what this machine has"
        ) from error
    fabric.launch()
    # Without it the gradient of an embedding with repeated ids differs between runs, on the CPU too.
    torch.use_deterministic_algorithms(True, warn_only=fabric.device.type != "cpu")
    # It also fills whatever memory is allocated, for those who read it unwritten: an eighth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return fabric


def has_bf16(accelerator: str) -> bool:
    """True where bf16 runs in hardware: it is slower than float32 elsewhere."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(environment()[1]["bf16"])


def _finish(recipe: Recipe, run: Path, model: Path, data: Data, seconds: float) -> None:
    DualEncoder.load(model).save(run / "model")
    versions, machine = environment()
    write_json(
        run / "run.json",
        {
            "format": 1,
            "recipe": recipe.name,
            "methods": [stage.method["name"] for stage in recipe.stages],
            "protocol": recipe.data.protocol,
            "protocol_hash": data.protocol.hash,
            "pairs": recipe.data.pairs,
            "pairs_fingerprint": data.pairs.fingerprint,
            "seed": recipe.seed,
            "train_pairs": len(data.train),
            "validation_pairs": len(data.held_out),
            "skipped_without_text": data.skipped,
            "seconds": round(seconds, 3),
            "stages": stage_facts(run, recipe),
            "versions": versions,
            "machine": machine,
        },
    )
    for stage in recipe.stages:
        for state in (run / "stages" / stage.name).glob("state-*"):
            shutil.rmtree(state, ignore_errors=True)


def read_run(run: Path | str) -> dict[str, Any]:
    """``run.json`` of a finished run."""
    return dict(read_json(Path(run) / "run.json"))
