"""``limbeck train --gpu NAME``: what a recipe costs on a GPU, from configurations alone.

Networks are built on torch's meta device, which has shapes and no numbers: no weights, no data, no memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from limbeck.encoders.config import ClipImageConfig, ClipTextConfig, TowerConfig
from limbeck.encoders.networks import text_network, vision_network
from limbeck.encoders.sources import is_hub_id, local_folder
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.methods.hmid_net.config import EMA, NONE
from limbeck.training.recipe import Recipe, StageConfig, method_config
from limbeck.training.saved_bytes import SavedBytes
from limbeck.training.units import short, span
from limbeck.typed import Json

_PAIRS = 2
BUSY = 0.35
"""Share of the peak that training reaches, assumed: what public reports of large transformers name."""


@dataclass(frozen=True)
class Gpu:
    """The name of a GPU, its memory in bytes, and its dense peak in bf16, in operations per second."""

    name: str
    memory: float
    peak: float


GPUS = {
    "rtx4090": Gpu("RTX 4090", 24e9, 165e12),
    "l40s": Gpu("L40S", 48e9, 362e12),
    "a100": Gpu("A100", 80e9, 312e12),
    "h100": Gpu("H100", 80e9, 989e12),
    "h200": Gpu("H200", 141e9, 989e12),
}
"""By the manufacturer's data sheets, without sparsity."""


@dataclass(frozen=True)
class Cost:
    """What one tower costs per pair.

    Attributes:
        parameters: number of its weights.
        forward: floating-point operations of one forward pass of a pair, two per multiply-add.
        kept: bytes that a pair keeps for the backward pass, in bf16.
    """

    parameters: int = 0
    forward: float = 0.0
    kept: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.forward + other.forward, self.kept + other.kept)


def estimate(recipe: Recipe, gpu: str) -> list[str]:
    """Describe the cost of every stage on a GPU.

    Raises:
        LimbeckError: an unknown GPU, a tower that is not a transformer of CLIP's kind, or a hub model whose
            sizes are not known here.
    """
    if gpu not in GPUS:
        raise LimbeckError(
            f"--gpu {gpu}: is unknown; choose one of {', '.join(GPUS)}", code="E-OPTION-CHOICE"
        )
    known: dict[str, tuple[Cost, Cost]] = {}
    lines = [f"{recipe.name}: from the configurations, without weights and data"]
    for stage in recipe.stages.values():
        lines += _stage(recipe, stage, GPUS[gpu], known)
    return lines


def _stage(
    recipe: Recipe, stage: StageConfig, gpu: Gpu, known: dict[str, tuple[Cost, Cost]]
) -> Iterator[str]:
    config = method_config(stage)[1]
    mask = getattr(config, "mask", None)
    shown = 1.0 - mask.ratio if mask is not None else 1.0
    views = mask.views if mask is not None else 1
    own = [_own(stage, modality, known, shown) for modality in ("image", "text")]
    known[stage.name] = (own[0], own[1])
    trained, frozen = Cost(), Cost()
    for modality, cost in zip(("image", "text"), own, strict=True):
        tower: TowerConfig = getattr(stage.towers, modality)
        times = views if modality == "image" else 1
        scaled = Cost(cost.parameters, cost.forward * times, cost.kept * times)
        if modality in stage.freeze or tower.freeze_backbone:
            frozen += scaled
        else:
            trained += scaled
    teacher = getattr(config, "teacher", NONE)
    if teacher not in (None, EMA, NONE):
        frozen += sum(known.get(teacher) or model_cost(teacher), Cost())
    if teacher == EMA or getattr(config, "target", None) == "ema":  # the student's own average reads too
        frozen += _own(stage, "image", known, 1.0)
        frozen += own[1] if teacher == EMA else Cost()
    plan, devices = stage.schedule, recipe.compute.devices * recipe.compute.nodes
    # forward once and backward twice; gradient caching runs the forward pass once more
    share = plan.batch_size / devices
    again = 1 if plan.chunk is not None and plan.chunk < share else 0
    flops = plan.batch_size * ((3 + again) * trained.forward + frozen.forward)
    at_once = min(share, plan.chunk or share)
    state = 16 * trained.parameters + 4 * frozen.parameters
    memory = state + at_once * trained.kept
    fits = f"fits {gpu.name} ({gpu.memory / 1e9:.0f} GB)"
    if memory > 0.9 * gpu.memory:
        fits = f"does not {fits.replace('fits', 'fit')}, lower schedule.chunk"
    yield (
        f"  {stage.name}: {stage.method['name']}, {trained.parameters + frozen.parameters:,} parameters "
        f"({trained.parameters:,} trained, {frozen.parameters:,} frozen, teachers and averages included)"
    )
    yield (
        f"    {short(flops)}FLOP per step of {plan.batch_size:,} pairs; forward per pair: "
        f"{short(trained.forward)}FLOP in trained towers, {short(frozen.forward)}FLOP in frozen ones"
    )
    yield (
        f"    memory about {short(memory)}B per GPU ({short(state)}B weights, gradients and optimizer, "
        f"{short(trained.kept)}B per pair, {at_once:,.0f} at once): {fits}"
    )
    yield f"    {_hours(stage, flops, gpu, devices)}"
    yield (
        f"    assumed: bf16, {BUSY:.0%} of {gpu.peak / 1e12:.0f} TFLOP/s, frozen towers run at every step; "
        "heads, losses and decoder not counted"
    )


def _hours(stage: StageConfig, flops: float, gpu: Gpu, devices: int) -> str:
    steps = stage.schedule.steps
    per_step = flops / (devices * BUSY * gpu.peak)
    where = f"on {devices} × {gpu.name}"
    if steps is None:
        rate = stage.schedule.batch_size / per_step
        return f"about {1e6 / rate / 3600:.2g} h per million pairs {where} ({stage.schedule.epochs:g} epochs)"
    return f"about {span(steps * per_step)} for {steps:,} steps {where}"


def _own(
    stage: StageConfig, modality: Literal["image", "text"], known: dict[str, tuple[Cost, Cost]], shown: float
) -> Cost:
    """Return the cost of one of the stage's towers; one that starts from an earlier stage has its sizes."""
    origin = stage.init.get(modality)
    if origin in known:
        return known[origin][0 if modality == "image" else 1]
    if origin is not None:
        return model_cost(origin, shown)[0 if modality == "image" else 1]
    backbone = getattr(stage.towers, modality).backbone
    if isinstance(backbone, ClipImageConfig | ClipTextConfig):
        if backbone.source is not None:
            return model_cost(backbone.source, shown)[0 if modality == "image" else 1]
        return _image(_image_sizes(backbone), shown) if modality == "image" else _text(_text_sizes(backbone))  # type: ignore[arg-type]
    raise LimbeckError(
        f"stages.{stage.name}.towers.{modality}.backbone.kind: '{backbone.kind}' is not estimated, only "
        "clip_image and clip_text; leave --gpu out for a dry run",
        code="E-CONFIG-VALUE",
    )


@functools.cache
def model_cost(source: str, shown: float = 1.0) -> tuple[Cost, Cost]:
    """Return the costs of both towers of a CLIP-like model, by its ``config.json`` or by `PUBLISHED`."""
    stored = _stored(source)
    vision, text = dict(stored["vision_config"]), dict(stored["text_config"])
    for own, kind in ((vision, "vision"), (text, "text")):
        own.setdefault("model_type", f"{stored.get('model_type', 'clip')}_{kind}_model")
        own.setdefault("projection_dim", stored.get("projection_dim", 512))
    return _image(vision, shown), _text(text)


def _stored(source: str) -> dict[str, Any]:
    try:
        folder = local_folder(source, network=False)
    except LimbeckError:
        if source in PUBLISHED:
            return PUBLISHED[source]
        if not is_hub_id(source):
            raise
        raise LimbeckError(
            f"{source}: its sizes are not known without its config.json; run: "
            f"hf download {source} config.json",
            code="E-MODEL-DOWNLOAD",
        ) from None
    stored = read_json(folder / "config.json")
    if not isinstance(stored, dict) or not {"vision_config", "text_config"} <= stored.keys():
        raise LimbeckError(
            f"{source}: config.json has no vision_config and text_config; name a model of CLIP's kind",
            code="E-MODEL-UNSUPPORTED",
        )
    return stored


def _image_sizes(config: ClipImageConfig) -> dict[str, Json]:
    return {
        "model_type": "clip_vision_model", "hidden_size": config.width, "intermediate_size": 4 * config.width,
        "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
        "image_size": config.image_size, "patch_size": config.patch_size, "projection_dim": config.width,
    }  # fmt: skip


def _text_sizes(config: ClipTextConfig) -> dict[str, Json]:
    words = getattr(config.tokenizer, "vocabulary_size", 49408)
    return {
        "model_type": "clip_text_model", "hidden_size": config.width, "intermediate_size": 4 * config.width,
        "num_hidden_layers": config.layers, "num_attention_heads": config.heads, "vocab_size": words,
        "max_position_embeddings": config.context, "projection_dim": config.width,
        "bos_token_id": words - 2, "eos_token_id": words - 1,
    }  # fmt: skip


def _image(stored: dict[str, Json], shown: float) -> Cost:
    with torch.device("meta"):
        network = vision_network(str(stored["model_type"]))
        model = network.build(stored, projection=True)
        side = int(model.config.image_size)  # a stored configuration may leave defaults out
        patches = (side // int(model.config.patch_size)) ** 2
        inputs = {"pixels": torch.empty(_PAIRS, 3, side, side)}
        if shown < 1:
            inputs["keep"] = torch.zeros(_PAIRS, round(shown * patches), dtype=torch.int64)
    return _counted(model, lambda: network.forward(model, inputs))


def _text(stored: dict[str, Json]) -> Cost:
    with torch.device("meta"):
        model = text_network(str(stored["model_type"])).build(stored, projection=True)
        ids = torch.zeros(_PAIRS, int(model.config.max_position_embeddings), dtype=torch.int64)
    return _counted(model, lambda: model(input_ids=ids))


def _counted(model: nn.Module, run: Callable[[], object]) -> Cost:
    with FlopCounterMode(display=False) as counter, SavedBytes(model) as saved:
        run()
    parameters = sum(p.numel() for p in model.parameters())
    kept = saved.bytes / _PAIRS / 2  # bf16 halves what float32 keeps
    return Cost(parameters, counter.get_total_flops() / _PAIRS, kept)


def _clip(
    width: int, layers: int, patch: int, text: int, text_layers: int, dim: int, side: int = 224
) -> dict[str, Json]:
    """Return the sizes of a CLIP model, with heads of 64."""
    vision = {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": width // 64, "image_size": side, "patch_size": patch,
    }  # fmt: skip
    words = {
        "hidden_size": text, "intermediate_size": 4 * text, "num_hidden_layers": text_layers,
        "num_attention_heads": text // 64, "vocab_size": 49408, "max_position_embeddings": 77,
        "bos_token_id": 49406, "eos_token_id": 49407,
    }  # fmt: skip
    return {"model_type": "clip", "projection_dim": dim, "vision_config": vision, "text_config": words}


PUBLISHED = {
    "openai/clip-vit-base-patch32": _clip(768, 12, 32, 512, 12, 512),
    "openai/clip-vit-base-patch16": _clip(768, 12, 16, 512, 12, 512),
    "openai/clip-vit-large-patch14": _clip(1024, 24, 14, 768, 12, 768),
    "openai/clip-vit-large-patch14-336": _clip(1024, 24, 14, 768, 12, 768, 336),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": _clip(1280, 32, 14, 1024, 24, 1024),
}
"""Sizes of models that recipes name, so that an estimate needs no file of the hub."""
