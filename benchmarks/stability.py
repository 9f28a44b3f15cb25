"""Count numbers that are not finite while hyperbolic models train at five times the default learning rate.

    python benchmarks/stability.py [--seeds 20] [--steps 300] [--workers N] [--out docs/results/parts/stability.json]

Tiny transformers (16 px pictures, patch 4, width 32; texts of 8 tokens) on learnable pairs in memory go through the
real loop: MERU on both lifts and HMID-Net with a frozen teacher, learnable curvature, the recipes' warm-up and
gradient norm; float32, and bf16 where the processor has it in hardware. Losses and gradients are watched by the
loop's own guard (the norm over all gradients is finite only if each is), embeddings and curvature after every step.
"""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric

from claims import Claims
from limbeck.data.batches import Batch, Batches
from limbeck.encoders.config import RunConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.inputs import Cached, TowerInputs, map_tensors, raw
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.masking import random_keep
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.files import write_json
from limbeck.methods import Method, Setup
from limbeck.training.fit import fit
from limbeck.training.recipe import OptimConfig, StageConfig, load_recipe, method_config
from limbeck.training.run import has_bf16

PAIRS, CLASSES, BATCH, SIZE, WIDTH = 256, 32, 32, 16, 32
TIMES = 5
TANGENT, POLAR = ({"kind": kind, "dim": WIDTH} for kind in ("tangent", "polar"))
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "MERU, tangent": ({"name": "meru"}, TANGENT),
    "MERU, polar": ({"name": "meru"}, POLAR),
    "HMID-Net, polar": ({"name": "hmid-net", "teacher": "memory", "decoder_width": 32}, POLAR),
}


class Outcome(NamedTuple):
    """Of one training: what was not finite by kind, the last step's accuracy, the range of the curvature."""

    losses_or_gradients: int
    embeddings: int
    curvature: int
    accuracy: float
    lowest: float
    highest: float


class InMemory(Batches):
    """Random batches of tensors by input and key; some patches of ``image`` are kept if ``mask`` is not 0."""

    def __init__(self, inputs: Mapping[str, TowerInputs], seed: int, *, patches: int, mask: float) -> None:
        self.inputs, self.seed, self.patches, self.mask = inputs, seed, patches, mask
        self.batch_size, self.steps_per_epoch = BATCH, PAIRS // BATCH

    def at(self, step: int) -> Batch:
        rows = np.random.default_rng([self.seed, step]).choice(PAIRS, BATCH, replace=False)
        named = {name: map_tensors(own, lambda x: x[rows]) for name, own in self.inputs.items()}
        if self.mask:
            draws = [step * PAIRS + int(row) for row in rows]
            keep = random_keep(self.patches, self.mask, draws)
            named["image"] = raw(named["image"]) | {"keep": keep}
        return Batch(named, [str(row) for row in rows], torch.from_numpy(rows))


def stage_of(method: dict[str, Any], lift: dict[str, Any], steps: int, times: float) -> StageConfig:
    small = {"width": WIDTH, "layers": 1, "heads": 2}
    image = {"kind": "clip_image", "image_size": SIZE, "patch_size": 4, **small}
    text = {"kind": "clip_text", "context": 8, **small}
    tree = {
        "name": "stability",
        "data": {"protocol": "none"},
        "towers": {"image": {"backbone": image}, "text": {"backbone": text}},
        "lift": lift,
        "optim": {"lr": OptimConfig().lr * times},
        "schedule": {"steps": steps, "batch_size": BATCH, "checkpoint_every": 10 * steps, "log_every": steps},
        "stages": {"one": {"method": method}},
    }
    return load_recipe(tree).last


@functools.cache
def world() -> tuple[torch.Tensor, list[str]]:
    """Pictures (PAIRS, 3, SIZE, SIZE) of a class's pattern and noise, and texts that name the class."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(CLASSES, (PAIRS,), generator=generator)
    patterns = torch.randn(CLASSES, 3, SIZE, SIZE, generator=generator)
    noise = torch.randn(PAIRS, 3, SIZE, SIZE, generator=generator)
    words = torch.randint(50, (PAIRS, 2), generator=generator).tolist()
    texts = [f"class{c} with more{a} more{b}" for c, (a, b) in zip(classes.tolist(), words, strict=True)]
    return patterns[classes] + 0.5 * noise, texts


def encoder_of(stage: StageConfig, texts: list[str], seed: int) -> DualEncoder:
    torch.manual_seed(seed)
    towers = {name: Tower(getattr(stage.towers, name), name) for name in ("image", "text")}
    towers["image"].fit([], seed=seed)
    towers["text"].fit(texts, seed=seed)
    lift = build_lift(stage.lift, {name: tower.dim for name, tower in towers.items()})
    return DualEncoder(towers["image"], towers["text"], lift)


@functools.cache
def teacher() -> tuple[dict[str, RunBackbone], dict[str, Cached]]:
    """MERU on whole pictures at the default rate, frozen: what HMID-Net reads of it, and its outputs."""
    pictures, texts = world()
    stage = stage_of(*VARIANTS["MERU, polar"], 150, 1)
    encoder = encoder_of(stage, texts, 1000)
    method_class, config = method_config(stage)
    method = method_class(encoder, config, Setup(len(texts), 0))
    inputs = {"image": {"pixels": pictures}, "text": encoder.towers["text"].backbone.collate(texts)}
    batches = InMemory(inputs, 1000, patches=0, mask=0)
    fabric = Fabric(accelerator="cpu", devices=1)
    with tempfile.TemporaryDirectory() as place:
        fit(method, batches, stage, fabric, Path(place), seed=1000, identity={}, quiet=True)
    encoder.eval().requires_grad_(False)
    kinds: list[tuple[str, Any, str]] = [
        ("teacher_image", "tangent", "image"),
        ("teacher_text", "tangent", "text"),
        ("teacher_patches", "patches", "image"),
    ]
    readers, outputs = {}, {}
    for name, output, modality in kinds:
        readers[name] = RunBackbone(RunConfig(path="memory", output=output), modality)
        readers[name].load_from(encoder)
        with torch.no_grad():
            outputs[name] = Cached(readers[name](inputs[modality]))
    return readers, outputs


def watch(method: Method) -> dict[str, float]:
    """Counts by kind and the range of the curvature, filled in after every step."""
    seen = {"embeddings": 0, "curvature": 0, "accuracy": 0.0, "lowest": np.inf, "highest": 0.0}
    after, lift = method.after_step, method.encoder.lift

    def watched(outputs: Any, state: Any) -> None:
        after(outputs, state)
        for rows in outputs.tensors().values():
            seen["embeddings"] += int((~torch.isfinite(rows)).sum())
        curv = float(lift.log_curv.detach().exp())  # type: ignore[operator]
        seen["curvature"] += not np.isfinite(curv)
        seen["lowest"], seen["highest"] = min(seen["lowest"], curv), max(seen["highest"], curv)
        if state.step + 1 == state.total_steps:
            nearest = lift.logits(outputs.image, outputs.text).argmax(1)
            seen["accuracy"] = float((nearest == torch.arange(BATCH)).float().mean())

    method.after_step = watched  # type: ignore[method-assign]
    return seen


def one(variant: str, precision: str, seed: int, steps: int) -> Outcome:
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    stage = stage_of(*VARIANTS[variant], steps, TIMES)
    pictures, texts = world()
    readers, outputs = teacher() if stage.method["name"] == "hmid-net" else ({}, {})
    encoder = encoder_of(stage, texts, seed)
    raw_inputs = {"image": {"pixels": pictures}, "text": encoder.towers["text"].backbone.collate(texts)}
    inputs: dict[str, TowerInputs] = {**raw_inputs, **outputs}
    method_class, config = method_config(stage)
    method: Any = method_class(encoder, config, Setup(len(texts), 0, readers))
    with tempfile.TemporaryDirectory() as place:
        mask = config.mask.ratio if readers else 0.0
        patches = encoder.towers["image"].backbone.patches
        batches, seen, stopped = InMemory(inputs, seed, patches=patches, mask=mask), watch(method), 0
        fabric = Fabric(
            accelerator="cpu", devices=1, precision="bf16-mixed" if precision == "bf16" else "32-true"
        )
        try:
            fit(method, batches, stage, fabric, Path(place), seed=seed, identity={}, quiet=True)
        except LimbeckError as error:
            print(f"{variant}, {precision}, seed {seed}: {error}", flush=True)
            stopped = 1
    return Outcome(stopped, *(seen[key] for key in Outcome._fields[1:]))  # type: ignore[arg-type]


def all_outcomes(
    tasks: list[tuple[str, str, int]], steps: int, workers: int
) -> Iterator[tuple[tuple[str, str, int], Outcome]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        columns = zip(*tasks, strict=True)
        yield from zip(tasks, pool.map(one, *columns, [steps] * len(tasks)), strict=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="write rows for docs/results to this file, too")
    options = parser.parse_args()
    precisions = ["float32", *(["bf16"] if has_bf16("cpu") else [])]
    seeds = list(range(options.seeds))
    tasks = [(v, p, s) for v in VARIANTS for p in precisions for s in seeds]
    found: dict[tuple[str, str], list[Outcome]] = {(v, p): [] for v in VARIANTS for p in precisions}
    for (variant, precision, _), outcome in all_outcomes(tasks, options.steps, options.workers):
        found[variant, precision].append(outcome)
        if len(found[variant, precision]) == len(seeds):
            print(f"{variant}, {precision}: {note_of(found[variant, precision])}", flush=True)
    claims = Claims()
    command = f"benchmarks/stability.py --seeds {options.seeds} --steps {options.steps}"
    for (variant, precision), outcomes in found.items():
        claims.add(
            f"{variant}, {precision}: numbers not finite in {len(seeds)} seeds x {options.steps} steps at "
            f"{TIMES} times the default learning rate",
            command,
            sum(o.losses_or_gradients + o.embeddings + o.curvature for o in outcomes),
            "numbers",
            0.0,
            seeds=seeds,
            below=True,
            note=note_of(outcomes),
        )
    if "bf16" not in precisions:
        print("bf16: this processor does not have it in hardware")
    if options.out:
        write_json(options.out, claims.rows)


def note_of(outcomes: list[Outcome]) -> str:
    """What was seen besides, to show that the models did learn and the curvature did move."""
    bad = sum(o.losses_or_gradients + o.embeddings + o.curvature for o in outcomes)
    lowest, highest = min(o.lowest for o in outcomes), max(o.highest for o in outcomes)
    accuracy = float(np.mean([o.accuracy for o in outcomes]))
    return (
        f"{bad} not finite; curvature {lowest:.3g} to {highest:.3g}; last batch's accuracy {accuracy:.2f} "
        f"(chance {1 / BATCH:.2f})"
    )


if __name__ == "__main__":
    main()
