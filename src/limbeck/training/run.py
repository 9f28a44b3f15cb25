"""Train a whole run: resolve the recipe, train its stages in order, save ``model/``."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from limbeck.console import echo
from limbeck.data.contents import Contents
from limbeck.data.protocols import lasting_name
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.once import work_shared
from limbeck.environment import environment
from limbeck.errors import LimbeckError
from limbeck.files import remove_leftovers, write_json
from limbeck.training.choice import Choice, choose
from limbeck.training.code import compare_code, note_code
from limbeck.training.data import Data, open_data
from limbeck.training.early import check_stages
from limbeck.training.folder import RunFolder, is_free, is_run
from limbeck.training.identity import check_same_recipe
from limbeck.training.launch import check_launch, join, join_timeout
from limbeck.training.loggers import check_loggers
from limbeck.training.precision import fp16, has_bf16
from limbeck.training.processes import barrier, together
from limbeck.training.recipe import Recipe, load_recipe
from limbeck.training.stages import run_stage, stage_facts
from limbeck.typed import Json


@work_shared()
def train(
    recipe: str | Path | dict[str, Json] | Recipe,
    *,
    out: str | Path | None = None,
    pairs: str | Path | None = None,
    resume: bool = False,
    changed_data: bool = False,
    quiet: bool = False,
    profile: bool = False,
    overrides: dict[str, Json] | None = None,
    **more: Json,
) -> Path:
    """Train a recipe into a run directory; ``limbeck.load`` reads the result.

    Args:
        recipe: name, YAML file, mapping or resolved recipe.
        out: the run directory; default: ``runs/<recipe>-s<seed>``.
        pairs: pairs directory; overrides ``data.pairs``.
        resume: resume from the newest sound checkpoint in ``out``; a finished run is returned unchanged.
        changed_data: resume even if pictures or feature files changed since the run began.
        quiet: print neither progress nor settings.
        profile: write a trace of some steps of each stage, and print where the time goes.
        overrides: values by dotted key.
        more: overrides as keywords, such as ``seed=1`` or ``**{"lift.bits": 16}``.

    Returns:
        The run directory.

    Raises:
        LimbeckError: the recipe or data is bad, ``out`` is taken or in use by another process, a checkpoint
            is of another recipe, or the data changed. Files that ``out`` held before are restored.
        limbeck.training.fit.Interrupted: a signal stopped training; the state is saved.
    """
    changes = {**(overrides or {}), **more}
    if isinstance(recipe, Recipe) and changes:
        recipe = recipe.model_dump(mode="json")
    resolved = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, changes)
    run = default_run(resolved) if out is None else Path(out)
    resolved = _at_home_anywhere(resolved, pairs)
    if resolved.data.pairs is None:
        raise LimbeckError(
            "recipe: data.pairs is not set; give --data DIR or data.pairs=DIR", code="E-OPTION-MISSING"
        )
    # Launch first: each of several processes runs this function and must see the directory unchanged.
    check_loggers(resolved.loggers)
    fabric = start_fabric(resolved)
    begun = is_run(run)
    if begun:
        if not resume:
            raise LimbeckError(
                f"{run}: holds a run already; add --resume to continue it, or choose another --out",
                code="E-PATH-EXISTS",
            )
        check_same_recipe(run, resolved)
        if (run / "run.json").is_file() and (run / "model" / "model.json").is_file():
            return run
    elif not is_free(run):
        raise LimbeckError(f"{run}: exists and is not a run; choose another --out", code="E-PATH-EXISTS")
    say = _speaker(fabric)
    data = open_data(resolved)
    contents = _contents(resolved, data)
    if data.splits.note is not None and not quiet:
        say(data.splits.note)
    if begun:
        _check_contents(run, contents, accepted=changed_data, say=say)
        compare_code(run, resolved, say)
    else:
        check_stages(resolved, data)
    barrier(fabric)
    if data.skipped and not quiet:
        say(f"{data.skipped:,} rows without a text are left out by stages that read texts")
    with contextlib.ExitStack() as stack:
        folder = _claim(stack, run, fabric, begun)
        began = time.monotonic()
        models: dict[str, Path] = {}
        try:
            if folder is not None:
                folder.begin(resolved.to_yaml(), contents)
                note_code(run, resolved)
            for stage in resolved.stages.values():
                models[stage.name] = run_stage(
                    resolved, stage, data, fabric, run, models, quiet=quiet, profile=profile, say=say
                )
        except LimbeckError:
            if folder is not None:
                folder.take_back()
            raise
        if folder is not None:
            remove_leftovers(run)
            choice = choose(run, resolved)
            if resolved.choose and not quiet:
                say(str(choice))
            _finish(resolved, run, models[choice.stage.name], choice, data, time.monotonic() - began)
        barrier(fabric)
    return run


def _speaker(fabric: Fabric) -> Callable[[str], None]:
    """Return a function that prints a line to standard error, from the first process only."""

    def say(line: str) -> None:
        if fabric.is_global_zero:
            echo(f"limbeck: {line}", err=True)

    return say


def _claim(stack: contextlib.ExitStack, run: Path, fabric: Fabric, begun: bool) -> RunFolder | None:
    """Claim the directory in the first process, and return None in the others; if it fails, all raise."""
    folder: RunFolder | None = None
    refused: tuple[str, str] | None = None
    if fabric.is_global_zero:
        try:
            folder = stack.enter_context(RunFolder.claim(run))
            if folder.fresh == begun:
                refused = f"{run}: another process wrote there in the meantime; try again", "E-PATH-EXISTS"
        except LimbeckError as error:
            refused = str(error), error.code
    with together():
        refused = fabric.broadcast(refused)
    if refused is not None:
        raise LimbeckError(refused[0], code=refused[1])
    return folder


def _contents(recipe: Recipe, data: Data) -> Contents:
    """Return the current contents of the data, with pictures only if a tower may read them."""
    rows: list[np.ndarray] = []
    if any(stage.towers.image.backbone.kind != "features" for stage in recipe.stages.values()):
        views = (data.train, data.held_out, data.database)
        rows = [view.rows for view in views if view is not None]
    return Contents.of(data.pairs, data.protocol, rows, cache=BackboneCache().folder)


def _check_contents(run: Path, now: Contents, *, accepted: bool, say: Callable[[str], None]) -> None:
    """Refuse to resume if the data changed since the run began; changed files can be accepted.

    Raises:
        LimbeckError: the table or protocol is another, or files changed and this is not accepted; the message
            names the first file.
    """
    before = Contents.load(run)
    if before is None:
        say(f"{run}: holds no record of its data (an older limbeck began it); changes cannot be detected")
        return
    changes = before.changes(now)
    if changes.other:
        raise LimbeckError(
            f"{run}: began with another data set (different: {', '.join(changes.other)}); "
            "give the original --data, or choose another --out",
            code="E-RUN-OTHER-DATA",
        )
    if changes.copied:
        say(
            f"{changes.copied:,} pictures have new dates but their old sizes; "
            f"{changes.read:,} others were compared and are the same"
        )
    if not changes.files:
        return
    count = f"{len(changes.files):,} file{'s' if len(changes.files) > 1 else ''}"
    message = f"{run}: {count} changed since it began (first: {changes.files[0]})"
    if not accepted:
        raise LimbeckError(
            f"{message}; restore them, choose another --out, or add --changed-data", code="E-RUN-OTHER-DATA"
        )
    say(f"{message}; continuing, since --changed-data is given")


def _at_home_anywhere(recipe: Recipe, pairs: str | Path | None) -> Recipe:
    """Return the recipe with absolute paths, so that its run can be read from any directory."""
    data = recipe.data
    where = data.pairs if pairs is None else pairs
    changes = {
        "pairs": None if where is None else str(Path(where).resolve()),
        "protocol": lasting_name(data.protocol),
    }
    return recipe.model_copy(update={"data": data.model_copy(update=changes)})


def default_run(recipe: Recipe) -> Path:
    """Return the default run directory, ``runs/<recipe>-s<seed>``."""
    return Path("runs") / f"{recipe.name.replace('/', '-')}-s{recipe.seed}"


def start_fabric(recipe: Recipe) -> Fabric:
    """Start Fabric with the recipe's device, precision and processes, and with deterministic algorithms.

    Raises:
        LimbeckError: the accelerator is missing, or the processes do not fit the recipe or do not connect.
    """
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
            precision=None if precision == "fp16" else "bf16-mixed" if precision == "bf16" else "32-true",
            plugins=[fp16(compute.accelerator)] if precision == "fp16" else None,
        )
    except (RuntimeError, ValueError) as error:
        raise LimbeckError(
            f"recipe: compute.accelerator={compute.accelerator}, compute.devices={compute.devices}: "
            f"{str(error).splitlines()[0].rstrip('.')}; use auto for what this machine has",
            code="E-DEVICE-MISSING",
        ) from error
    join(fabric, compute)
    # Otherwise the gradient of an embedding with repeated ids differs between runs, even on the CPU.
    torch.use_deterministic_algorithms(True, warn_only=fabric.device.type != "cpu")
    # That mode also fills all allocated memory, which costs an eighth of a step; nothing here needs it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return fabric


def _finish(recipe: Recipe, run: Path, model: Path, choice: Choice, data: Data, seconds: float) -> None:
    DualEncoder.load(model).save(run / "model", graphs=True)
    versions, machine = environment()
    shared = [stage for stage in recipe.stages.values() if stage not in recipe.candidates]
    stages = stage_facts(run, recipe)
    # A stage counts what it trained before a stop; ``seconds`` is of this process alone.
    spent = [float(str(one["seconds_with_setup"])) for one in stages.values()]
    write_json(
        run / "run.json",
        {
            "format": 1,
            "recipe": recipe.name,
            "methods": [stage.method["name"] for stage in [*shared, choice.stage]],
            **({"chosen": choice.to_json()} if recipe.choose else {}),
            "protocol": recipe.data.protocol,
            "protocol_hash": data.protocol.hash,
            "pairs": recipe.data.pairs,
            "pairs_fingerprint": data.pairs.fingerprint,
            "seed": recipe.seed,
            "train_pairs": len(data.train),
            "validation_pairs": len(data.held_out),
            "skipped_without_text": data.skipped,
            "seconds": round(max(seconds, math.fsum(spent)), 3),
            "stages": stages,
            "versions": versions,
            "machine": machine,
        },
    )
    for stage in recipe.stages.values():
        for state in (run / "stages" / stage.name).glob("state-*"):
            shutil.rmtree(state, ignore_errors=True)
