"""A whole run: resolve the recipe, train its stages in order, leave ``model/`` behind."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from limbeck.console import echo
from limbeck.data.contents import Contents
from limbeck.data.protocols import lasting_name
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.evaluation.environment import environment
from limbeck.files import read_json, remove_leftovers, write_json
from limbeck.training.code import compare_code, note_code
from limbeck.training.data import Data, open_data
from limbeck.training.early import check_stages
from limbeck.training.folder import RunFolder, is_free, is_run
from limbeck.training.identity import check_same_recipe
from limbeck.training.launch import check_launch, join, join_timeout
from limbeck.training.recipe import Recipe, load_recipe
from limbeck.training.stages import run_stage, stage_facts


def train(
    recipe: str | Path | dict[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    pairs: str | Path | None = None,
    resume: bool = False,
    changed_data: bool = False,
    quiet: bool = False,
    overrides: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Train a recipe into a run directory and return it; ``limbeck.load`` reads the result.

    Args:
        recipe: name, YAML file, mapping or resolved recipe.
        out: the run directory; ``runs/<recipe>-s<seed>`` by default.
        pairs: pairs directory; overrides ``data.pairs``.
        resume: go on from the newest sound checkpoint in ``out``; a finished run is returned as it is.
        changed_data: go on though pictures or feature files hold something else than when the run began.
        quiet: no progress line.
        overrides: values by dotted key.
        more: overrides as keywords, such as ``seed=1`` or ``**{"lift.bits": 16}``.

    Raises:
        LimbeckError: bad recipe or data, ``out`` taken or in use by another process, checkpoint of another
            recipe, changed data. What stood in ``out`` before is then as it was.
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
    begun = is_run(run)
    if begun:
        if not resume:
            raise LimbeckError(
                f"{run}: holds a run already; add --resume to go on with it, or choose another --out"
            )
        check_same_recipe(run, resolved)
        if (run / "run.json").is_file() and (run / "model" / "model.json").is_file():
            return run
    elif not is_free(run):
        raise LimbeckError(f"{run}: exists and is not a run; choose another --out")
    say = _speaker(fabric)
    data = open_data(resolved)
    contents = _contents(resolved, data)
    if (drawn := data.protocol.said(data.pairs)) is not None and not quiet:
        say(drawn)
    if begun:
        _check_contents(run, contents, accepted=changed_data, say=say)
        compare_code(run, resolved, say)
    else:
        check_stages(resolved, data)
    fabric.barrier()
    if data.skipped and not quiet:
        say(f"{data.skipped:,} rows without a text are left out of what reads texts")
    with contextlib.ExitStack() as stack:
        folder = _claim(stack, run, fabric, begun)
        began = time.monotonic()
        models: dict[str, Path] = {}
        try:
            if folder is not None:
                folder.begin(resolved.to_yaml(), contents)
                note_code(run, resolved)
            for stage in resolved.stages:
                models[stage.name] = run_stage(
                    resolved, stage, data, fabric, run, models, quiet=quiet, say=say
                )
        except LimbeckError:
            if folder is not None:
                folder.take_back()
            raise
        if folder is not None:
            remove_leftovers(run)
            _finish(resolved, run, models[resolved.stages[-1].name], data, time.monotonic() - began)
        fabric.barrier()
    return run


def _speaker(fabric: Fabric) -> Callable[[str], None]:
    """Lines to standard error, from the first process alone."""

    def say(line: str) -> None:
        if fabric.is_global_zero:
            echo(f"limbeck: {line}", err=True)

    return say


def _claim(stack: contextlib.ExitStack, run: Path, fabric: Fabric, begun: bool) -> RunFolder | None:
    """The directory for the first process, None for the others; all are refused when the first is."""
    folder, refused = None, None
    if fabric.is_global_zero:
        try:
            folder = stack.enter_context(RunFolder.claim(run))
            if folder.fresh == begun:
                refused = f"{run}: another process wrote there meanwhile; try again"
        except LimbeckError as error:
            refused = str(error)
    refused = fabric.broadcast(refused)
    if refused is not None:
        raise LimbeckError(refused)
    return folder


def _contents(recipe: Recipe, data: Data) -> Contents:
    """What the data hold now; pictures only where a tower may read them."""
    rows: list[np.ndarray] = []
    if any(stage.towers.image.backbone.kind != "features" for stage in recipe.stages):
        views = (data.train, data.held_out, data.database)
        rows = [view.rows for view in views if view is not None]
    return Contents.of(data.pairs, data.protocol, rows, cache=BackboneCache().folder)


def _check_contents(run: Path, now: Contents, *, accepted: bool, say: Callable[[str], None]) -> None:
    """Refuse to go on with other data than the run began with, unless the change of files is accepted.

    Raises:
        LimbeckError: another table or protocol, or changed files that are not accepted; the first is named.
    """
    before = Contents.load(run)
    if before is None:
        say(f"{run}: holds no record of its data (an older limbeck began it); changed files go unnoticed")
        return
    found = before.changes(now)
    if found.other:
        raise LimbeckError(
            f"{run}: began with another data set (different: {', '.join(found.other)}); "
            "give its own --data, or choose another --out"
        )
    if found.copied:
        say(
            f"{found.copied:,} pictures have new dates and their old sizes; "
            f"{found.read:,} others were compared and are the same"
        )
    if not found.files:
        return
    count = f"{len(found.files):,} file{'s' if len(found.files) > 1 else ''}"
    said = f"{run}: {count} changed since it began (first: {found.files[0]})"
    if not accepted:
        raise LimbeckError(f"{said}; restore them, choose another --out, or go on with --changed-data")
    say(f"{said}; going on as --changed-data says")


def _at_home_anywhere(recipe: Recipe, pairs: str | Path | None) -> Recipe:
    """The recipe with absolute paths, so that its run is read from any directory."""
    data = recipe.data
    where = data.pairs if pairs is None else pairs
    changes = {
        "pairs": None if where is None else str(Path(where).resolve()),
        "protocol": lasting_name(data.protocol),
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
    check_launch(compute)
    several = compute.devices * compute.nodes > 1
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator=compute.accelerator,
            devices=compute.devices,
            num_nodes=compute.nodes,
            strategy=DDPStrategy(timeout=join_timeout()) if several else "auto",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
    except (RuntimeError, ValueError) as error:
        raise LimbeckError(
            f"recipe: compute.accelerator={compute.accelerator}, compute.devices={compute.devices}: "
            f"{str(error).splitlines()[0].rstrip('.')}; auto takes what this machine has"
        ) from error
    join(fabric, compute)
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
