"""``limbeck train --dry-run``: build every stage, run two steps, estimate the cost, keep nothing."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from PIL import Image

from limbeck.data.batches import Batches
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import load_protocol
from limbeck.data.yaml_files import yaml_text
from limbeck.encoders.lora import adapter_parameters
from limbeck.errors import LimbeckError
from limbeck.files import write_atomic
from limbeck.methods import Method, TrainState
from limbeck.training.blocks import apply_compute
from limbeck.training.data import open_data
from limbeck.training.early import Built, build_stages
from limbeck.training.flops import count_flops, set_train_mode
from limbeck.training.optim import learning_rates
from limbeck.training.recipe import Recipe
from limbeck.training.run import start_fabric
from limbeck.training.saved_bytes import SavedBytes
from limbeck.training.stages import input_readers
from limbeck.training.step import forward_backward
from limbeck.training.units import short, span
from limbeck.typed import Json

FAKE_ROWS, FAKE_BATCH = 64, 8
SUSTAINED = 100e12
"""Operations per second assumed of one large accelerator, about a third of its peak."""


def dry_run(recipe: Recipe, batch: int | None = None) -> list[str]:
    """Build every stage's method and report sizes, operations, memory and time; keep nothing.

    A stage that builds on another stage takes that stage's untrained model. Without ``data.pairs`` the input
    is generated: random pictures, and as many words as the vocabularies hold.

    Args:
        recipe: the resolved recipe.
        batch: pairs per step of the dry run; default: the recipe's batch with data, at most 8 without.

    Returns:
        Lines of text to print.

    Raises:
        LimbeckError: the data is bad, or the recipe reads precomputed features (of unknown width) without
            ``data.pairs``.
    """
    alone = recipe.compute.model_copy(update={"devices": 1, "nodes": 1})  # the steps run on one device
    recipe = recipe.model_copy(update={"compute": alone})
    with tempfile.TemporaryDirectory() as scratch:
        folder, fake = Path(scratch), recipe.data.pairs is None
        if fake:
            recipe, batch = _with_fake_data(recipe, folder), batch or FAKE_BATCH
        data = open_data(recipe)
        fabric = start_fabric(recipe)
        source = "generated input, no data.pairs" if fake else f"{len(data.train)} training pairs"
        first = f"{recipe.name}: {source}, {len(data.held_out)} held out, protocol {recipe.data.protocol}"
        lines = [f"{recipe.name}: {source}" if fake else first]
        for built in build_stages(recipe, data, folder / "built"):
            lines.append(_rehearse(recipe, built, fabric, batch, fake))
    return lines


def _rehearse(recipe: Recipe, built: Built, fabric: Fabric, batch: int | None, fake: bool) -> str:
    """Run two steps of a stage, and describe its cost."""
    stage, method, data = built.stage, built.method, built.data
    plan = stage.schedule
    method.to(fabric.device)
    alone = recipe.compute.model_copy(update={"compile": False, "shard": False})
    apply_compute(method, alone, fabric, say=lambda line: None)
    sources = input_readers(method, data.train)
    size = min(batch or plan.batch_size, plan.batch_size)
    batches = Batches(data.train, sources, batch_size=size, seed=recipe.seed)
    size = batches.batch_size
    set_train_mode(method)
    seconds, kept = [], 0
    for step in range(2):
        began = time.monotonic()
        state = TrainState(step, 2, 0, recipe.seed)
        with SavedBytes(method) as saved:
            losses, _ = forward_backward(method, batches.at(step), state, fabric, plan.chunk)
        method.zero_grad(set_to_none=True)
        seconds.append(time.monotonic() - began)
        kept = max(kept, saved.bytes)
    total = sum(p.numel() for p in method.encoder.parameters())
    trained = sum(p.numel() for p in method.encoder.parameters() if p.requires_grad)
    adapters = adapter_parameters(method.encoder)
    own = f"{trained:,} trained, {adapters:,} in adapters" if adapters else f"{trained:,} trained"
    whole = plan.batch_size if fake else min(plan.batch_size, len(data.train))
    epoch = "" if fake else f", {len(data.train) // whole} steps per epoch"
    pace = 2 * size / sum(seconds)
    text = (
        f"  {stage.name}: {stage.method['name']}, {total:,} parameters ({own}), "
        f"batch {whole}{epoch}, loss {losses.value:.4f}, first two steps {pace:,.3g} pairs/s"
    )
    if trained:
        text = f"{text}\n    learning rates: {learning_rates(method, stage.optim)}"
    steps = plan.steps
    if steps is None and not fake:
        steps = math.ceil((plan.epochs or 0) * (len(data.train) // whole))
    if steps == 0:
        return text
    flops = count_flops(method, batches, fabric, recipe.seed, size=whole)
    cost = _cost(method, flops, kept / min(size, plan.chunk or size), min(whole, plan.chunk or whole))
    if steps is None:
        return f"{text}\n    {cost}\n    time unknown without data (the length is in epochs)"
    scaled = f" (from steps of {size} pairs, scaled to {whole})" if size != whole else ""
    here, there = span(steps * whole * seconds[-1] / size), span(steps * flops / SUSTAINED)
    return (
        f"{text}\n    {cost}\n    about {here} for {steps:,} steps on this machine{scaled}; "
        f"{there} at a sustained {short(SUSTAINED)}FLOP/s, teachers not counted"
    )


def _cost(method: Method, flops: int, per_pair: float, at_once: int) -> str:
    """Describe operations and memory of one step."""
    trained = sum(p.numel() * p.element_size() for p in method.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.element_size() for p in method.parameters() if not p.requires_grad)
    state = 4 * trained + frozen  # weights, gradients, two moments of AdamW
    memory = state + per_pair * at_once
    return (
        f"{short(flops)} FLOP per step without teachers, memory about {short(memory)}B "
        f"({short(state)}B model and optimizer, {short(per_pair)}B per pair, {at_once} at once)"
    )


def _with_fake_data(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe on generated pictures, texts, tags and labels, under a protocol of the same task."""
    stages = recipe.model_dump(mode="json")["stages"]
    if "features" in _values(stages, "kind"):
        raise LimbeckError(
            "recipe: data.pairs is not set, and precomputed features cannot be generated; give --data DIR",
            code="E-OPTION-MISSING",
        )
    rng = np.random.default_rng(0)
    media = folder / "media"
    media.mkdir()
    for row in range(FAKE_ROWS):
        tile = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(tile).save(media / f"{row}.png")
    sizes = [size for size in _values(stages, "vocabulary_size") if isinstance(size, int)]
    captions = _captions(rng, max([1000, *sizes]))
    labels = [f"label{n}" for n in range(8)]
    rules = load_protocol(recipe.data.protocol)
    columns: dict[str, Sequence[object]] = {
        "id": [str(row) for row in range(FAKE_ROWS)],
        "image": [f"{row}.png" for row in range(FAKE_ROWS)],
        "captions": captions,
        "tags": [own[0].split()[:8] for own in captions],
        "labels": [[labels[row % 8], labels[(row + 1) % 8]] for row in range(FAKE_ROWS)],
        "split": ["query" if row < 4 else "train" for row in range(FAKE_ROWS)],
    }
    meta = {"name": "made up", "label_names": labels, "media": {"kind": "folder", "root": str(media)}}
    Pairs.write(folder / "pairs", columns, meta)
    write_atomic(folder / "made-up.yaml", yaml_text(_rules(rules)))
    data = recipe.data.model_copy(
        update={"pairs": str(folder / "pairs"), "protocol": str(folder / "made-up.yaml")}
    )
    return recipe.model_copy(update={"data": data})


def _captions(rng: np.random.Generator, vocabulary: int) -> list[list[str]]:
    """Return two long texts per row, with enough distinct words, each twice, to fill every vocabulary."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    count = -(-int(1.25 * vocabulary) // FAKE_ROWS) * FAKE_ROWS
    words = ["".join(row) for row in letters[rng.integers(0, 26, (count, 7))].tolist()]
    own = [words[row::FAKE_ROWS] for row in range(FAKE_ROWS)]
    return [[" ".join(some), " ".join(reversed(some))] for some in own]


def _rules(protocol: Protocol) -> dict[str, Json]:
    splits: dict[str, Json] = {"query": {"column_value": "query"}, "train": {"column_value": "train"}}
    rules: dict[str, Json] = {"name": "made/up", "task": protocol.task, "validation": {"size": 4, "seed": 0}}
    if protocol.task == "hashing":
        splits["database"] = {"column_value": "train"}
        rules |= {"relevance": "shared_label", "metric": {}}
    else:
        rules |= {"relevance": "paired", "metric": {"ks": [1]}}
    return rules | {"splits": splits, "text": {"column": protocol.text.column}}


def _values(tree: object, key: str) -> list[object]:
    """Return every value of a key at any depth."""
    if isinstance(tree, list):
        return [value for inner in tree for value in _values(inner, key)]
    if not isinstance(tree, dict):
        return []
    return [v for k, inner in tree.items() for v in ([inner] if k == key else _values(inner, key))]
