"""Run one stage: fit the towers to the data, build the method, train, save the model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from limbeck import notices
from limbeck.data.batches import Batches, InputReader
from limbeck.data.inputs import Input
from limbeck.data.subset import Subset
from limbeck.data.windows import check_window
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.config import TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.encode import even_blocks
from limbeck.encoders.lift_config import SourceLiftConfig
from limbeck.encoders.load import load
from limbeck.encoders.lora import adapt, adapter_parameters
from limbeck.encoders.start import initial_lift, scale_line, start_from_sources, started_from_model
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.files import read_json, remove_leftovers, sha256_json, write_json
from limbeck.methods import Method, Setup
from limbeck.pictures.decoding import default_workers
from limbeck.training.blocks import apply_compute
from limbeck.training.checkpoint import folder_digest
from limbeck.training.data import Data
from limbeck.training.fit import fit
from limbeck.training.identity import identity_by_path, recipe_identity
from limbeck.training.loggers import open_loggers
from limbeck.training.processes import barrier
from limbeck.training.recipe import Recipe, StageConfig, method_config
from limbeck.training.recipe_source import check_source
from limbeck.training.teachers import fingerprint, load_teachers, origin_of, trained
from limbeck.training.validation import validation_score
from limbeck.typed import Json


def build_method(
    stage: StageConfig,
    data: Data,
    earlier: dict[str, Path],
    seed: int,
    *,
    cache: BackboneCache | None = None,
    say: Callable[[str], None] = notices.say,
) -> Method:
    """Build the method of a stage with fitted towers, initial weights from ``seed``, and frozen parts marked.

    Args:
        stage: configuration of the stage.
        data: the data that the stage sees.
        earlier: model directories of the earlier stages by name.
        seed: the recipe's seed.
        cache: where the fit of sentence encoders looks texts up.
        say: receives one line per weight that comes from a pretrained source.

    Raises:
        LimbeckError: a tower does not fit the method, a model to start from or to learn from is missing, or
            the method reads phrases and no text has one.
    """
    check_source(stage.model_dump(mode="json"), f"stages.{stage.name}")
    torch.manual_seed(int(sha256_json([seed, stage.name])[:12], 16))
    method_class, config = method_config(stage)
    specs = method_class.inputs(config)
    if any(spec.column == "phrase" for spec in specs.values()):
        data.train.require_phrases()
    sources: dict[str, DualEncoder] = {}
    for origin in set(stage.init.values()):
        sources[origin] = load(origin_of(origin, earlier))
    towers = {}
    for modality in ("image", "text"):
        spec = next(s for s in specs.values() if s.tower == modality and s.teacher is None)
        if modality in stage.init:
            tower = sources[stage.init[modality]].towers[modality]
            _check_reads(stage, spec, tower)
        else:
            tower = Tower(getattr(stage.towers, modality), modality)
            if isinstance(tower.backbone, RunBackbone):
                where = f"towers.{modality}.backbone.path"
                tower.backbone.load_from(trained(tower.backbone.config.path, earlier, where))
            _check_reads(stage, spec, tower)
            with contextlib.nullcontext() if cache is None else cache.remembering(tower):
                tower.fit(data.train.fit_items(spec, tower.backbone.reads), seed=seed)
        towers[modality] = tower
    fresh = [modality for modality in towers if modality not in stage.init]
    lift = initial_lift(stage.lift, towers)
    encoder = DualEncoder(towers["image"], towers["text"], lift)
    lines = start_from_sources(encoder, fresh, whole=isinstance(stage.lift, SourceLiftConfig))
    for modality, origin in stage.init.items():
        try:
            lift.load_from(sources[origin].lift, modality)
        except LimbeckError as error:
            raise LimbeckError(
                f"stages.{stage.name}.init.{modality}: {origin}: {error}", code=error.code
            ) from None
        if origin not in earlier:  # what an earlier stage hands over is no news
            lines.append(started_from_model(towers[modality], origin))
    if not set(stage.init.values()) & earlier.keys():
        lines.append(scale_line(encoder, stage.lift, inherited=bool(stage.init)))
    for line in filter(None, lines):
        say(f"stage {stage.name}: {line}")
    for modality, tower in encoder.towers.items():
        tower.requires_grad_(True)  # a loaded model has gradients disabled
        wanted: TowerConfig = getattr(stage.towers, modality)
        if modality in stage.freeze:
            tower.requires_grad_(False)
            lift.freeze(modality)
        elif wanted.freeze_backbone:
            tower.backbone.requires_grad_(False)
        elif wanted.lora is not None:
            where = f"stages.{stage.name}.towers.{modality}.lora"
            if modality in fresh and not tower.backbone.pretrained:
                raise LimbeckError(
                    f"{where}: adapters need pretrained weights; "
                    "give the backbone a source or the stage an init",
                    code="E-CONFIG-VALUE",
                )
            size = adapt(tower.backbone, wanted.lora, where)
            whole = sum(p.numel() for p in tower.backbone.parameters()) - size
            told = f"towers.{modality} trains {size:,} parameters of adapters beside {whole:,} frozen ones"
            say(f"stage {stage.name}: {told}")
        tower.prepare_training()
    found = load_teachers(specs, earlier, f"stages.{stage.name}.method")
    labels = data.train.labels
    setup = Setup(
        rows=len(data.train),
        classes=0 if labels is None else labels.shape[1],
        teachers={name: teacher for name, teacher in found.items() if teacher is not None},
        specs={name: spec for name, spec in specs.items() if found.get(name, encoder) is not None},
        label_shares=None if labels is None else labels.mean(0),
    )
    return method_class(encoder, config, setup)


def input_readers(
    method: Method, view: Subset, cache: BackboneCache | None = None, *, teachers: bool = True
) -> dict[str, InputReader]:
    """Return a reader over some rows per input of a method, for its own towers and its teachers'."""
    own = {name: method.encoder.towers[spec.tower].backbone for name, spec in method.specs.items()}
    backbones = own | method.teachers
    return {
        name: InputReader(view, spec, backbones[name], cache)
        for name, spec in method.specs.items()
        if teachers or spec.teacher is None
    }


def backbone_cache(recipe: Recipe, fabric: Fabric | None = None, quiet: bool = False) -> BackboneCache | None:
    """Return the cache that the recipe names, None if it has none; the processes of ``fabric`` share work."""
    if not recipe.cache:
        return None
    folder = recipe.cache if isinstance(recipe.cache, str) else None
    if fabric is None:
        return BackboneCache(folder, quiet=quiet)
    rank, world = fabric.global_rank, fabric.world_size
    return BackboneCache(folder, quiet=quiet or rank > 0, rank=rank, world=world, barrier=fabric.barrier)


def _check_reads(stage: StageConfig, spec: Input, tower: Tower) -> None:
    """Refuse a text tower that reads label lists under a method that shows texts, and vice versa."""
    reads = getattr(tower.backbone, "reads", "text")
    if spec.tower == "text" and (spec.column == "labels") != (reads == "labels"):
        shown = "label lists" if spec.column == "labels" else "texts"
        raise LimbeckError(
            f"stages.{stage.name}.towers.text.backbone.kind: method '{stage.method['name']}' shows {shown}, "
            f"'{tower.config.backbone.kind}' reads {reads}; choose another backbone or method",
            code="E-CONFIG-VALUE",
        )


def run_stage(
    recipe: Recipe,
    stage: StageConfig,
    data: Data,
    fabric: Fabric,
    run: Path,
    earlier: dict[str, Path],
    *,
    quiet: bool = False,
    profile: bool = False,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Train a stage, unless it is finished, and return its model directory.

    Args:
        recipe: the resolved recipe.
        stage: the stage to train.
        data: the data of the run.
        fabric: device, precision and processes.
        run: the run directory.
        earlier: model directories of the earlier stages by name.
        quiet: print neither progress nor settings.
        profile: see `fit`.
        say: receives notes on damaged or old checkpoints.

    Raises:
        LimbeckError: the stage cannot be built or trained, or the model of a finished stage was changed.
    """
    folder = run / "stages" / stage.name
    model = folder / "model"
    if (folder / "done.json").is_file():
        _check_model(folder)
        return model
    began = time.monotonic()
    data = data.of_stage(stage, recipe.seed)
    cache = backbone_cache(recipe, fabric, quiet)
    speak = _silent if quiet else notices.say
    method = build_method(stage, data, earlier, recipe.seed, cache=cache, say=speak)
    method.to(fabric.device)
    folder.mkdir(parents=True, exist_ok=True)
    if fabric.is_global_zero:
        remove_leftovers(folder)
    encoder = method.encoder
    view = data.train.drawing(stage.texts)
    train = database = input_readers(method, view, cache)
    # Validation scores only the student, so a teacher need not read the held-out rows.
    held_out = input_readers(method, data.held_out, cache, teachers=False)
    if data.database is not None:
        database = input_readers(method, data.database, cache, teachers=False)
    if any(reader.decodes for reader in train.values()):
        check_window(data.pairs, view.rows, recipe.data.window, stage.schedule.batch_size)
    if method.needs_features:
        method.prepare({name: _features(encoder, source) for name, source in train.items()}, recipe.seed)
    batches = Batches(
        view,
        train,
        batch_size=stage.schedule.batch_size,
        seed=recipe.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
        remainder=stage.schedule.remainder,
        window=recipe.data.window,
        workers=recipe.compute.workers or default_workers(recipe.compute.devices),
    )
    torch.manual_seed(int(sha256_json([recipe.seed, stage.name, fabric.global_rank])[:12], 16))

    per_unseen = 0.0 if data.protocol.validation.measure == "trained" else data.splits.trained_per_unseen

    def validate() -> dict[str, float]:
        whole = data.database is not None
        return validation_score(
            encoder, data.protocol, database, held_out, whole=whole, trained_per_unseen=per_unseen
        )

    best = stage.schedule.select == "best" and len(data.held_out) > 0
    teacher = fingerprint(method.teachers)  # it reads the whole weights, which may be sharded next
    apply_compute(method, recipe.compute, fabric, speak)
    result = fit(
        method,
        batches,
        stage,
        fabric,
        folder,
        seed=recipe.seed,
        identity={
            "method": stage.method["name"],
            "recipe": recipe_identity(recipe),
            "data": sha256_json([data.pairs.fingerprint, data.protocol.hash]),
            "teacher": teacher,
        },
        also={"recipe": [identity_by_path(recipe)]},
        say=say,
        validate=validate if len(data.held_out) else None,
        loggers=partial(open_loggers, recipe.loggers, run, stage),
        profile=profile,
        scaled=recipe.compute.precision == "fp16",
        quiet=quiet,
    )
    if fabric.is_global_zero:
        chosen = DualEncoder.load(result.best) if best and result.best is not None else encoder
        chosen.save(model)
        adapters = adapter_parameters(encoder)
        facts: dict[str, Json] = {
            "steps": result.steps,
            "seconds": round(result.seconds, 3),
            "seconds_with_setup": round(time.monotonic() - began + result.earlier, 3),
            "best_step": result.best_step if best else None,
            "best_score": result.best_score,
            "parameters": sum(p.numel() for p in encoder.parameters()) - adapters,
            "trained_parameters": sum(p.numel() for p in encoder.parameters() if p.requires_grad),
            **({"adapter_parameters": adapters} if adapters else {}),
            "rows": len(view),
            "held_out_rows": len(data.held_out),
            "model_sha256": folder_digest(model),
        }
        write_json(folder / "done.json", facts)
    barrier(fabric)
    return model


def _check_model(folder: Path) -> None:
    noted = read_json(folder / "done.json").get("model_sha256")
    if noted is not None and folder_digest(folder / "model") != noted:
        raise LimbeckError(
            f"{folder / 'model'}: is damaged or changed (its checksum differs from done.json); "
            f"remove {folder} to train this stage again",
            code="E-RUN-DAMAGED",
        )


def _features(encoder: DualEncoder, source: InputReader) -> torch.Tensor:
    """Return the tower features (n, dim) of every row's first item."""
    batches = source.batches(even_blocks(np.arange(len(source.view)), 256))
    parts = [rows for _, (rows,) in encoder.run(source.spec.tower, batches, "features")]
    return torch.from_numpy(np.concatenate(parts))


def stage_facts(run: Path, recipe: Recipe) -> dict[str, dict[str, Json]]:
    """Return the content of ``done.json`` per stage, by name."""
    return {s.name: read_json(run / "stages" / s.name / "done.json") for s in recipe.stages.values()}


def told_sizes(facts: dict[str, Json]) -> str:
    """Describe the parameters of a finished stage by its ``done.json``."""
    told = f"{facts['parameters']:,} parameters, {facts['trained_parameters']:,} trained"
    adapters = facts.get("adapter_parameters")
    return f"{told} ({adapters:,} in adapters, now merged)" if adapters else told


def _silent(line: str) -> None:
    """Print nothing."""
