"""Pooling of token states to one vector per text, as the modules of a sentence encoder define it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.encoders.sources import inside
from limbeck.encoders.tensors import load_tensors
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.typed import Json

# In the order in which several of them are concatenated.
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU}


@dataclass(frozen=True)
class PoolingPlan:
    """The steps from the token states of a text to its vector.

    Attributes:
        modes: poolings, concatenated: cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken.
        dense: linear layers after pooling, each (width in, width out, bias, activation).
        normalize: whether the result is scaled to unit length.
        lower: whether texts are lower-cased first.
        prefix: the encoder's default prompt, which precedes each text.
        max_length: the largest number of tokens that the encoder reads, if its files name it.
    """

    modes: tuple[str, ...] = ("mean",)
    dense: tuple[tuple[int, int, bool, str], ...] = ()
    normalize: bool = True
    lower: bool = False
    prefix: str = ""
    max_length: int | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the JSON that `plan_from_json` reads."""
        return asdict(self)


@dataclass(frozen=True)
class Modules:
    """A plan and the weights of its dense layers, if it has any."""

    plan: PoolingPlan
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


def plan_from_json(stored: dict[str, Any]) -> PoolingPlan:
    """Rebuild a plan from its `to_json`."""
    lists = {"modes": tuple(stored["modes"]), "dense": tuple(tuple(own) for own in stored["dense"])}
    return PoolingPlan(**{**stored, **lists})


class Pooler(nn.Module):
    """Pool token states (B, L, D) with mask (B, L) to float32 (B, dim)."""

    def __init__(self, plan: PoolingPlan, width: int) -> None:
        super().__init__()
        self.plan = plan
        self.dense = nn.ModuleList(
            nn.Sequential(nn.Linear(i, o, bias=bias), _ACTIVATIONS[name]()) for i, o, bias, name in plan.dense
        )
        self.dim = plan.dense[-1][1] if plan.dense else width * len(plan.modes)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pool, apply the dense layers, and normalise if the plan says so."""
        pooled = [_pool(mode, hidden, mask) for mode in self.plan.modes]
        x = (pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1)).float()
        for layer in self.dense:
            x = layer(x)
        return nn.functional.normalize(x, dim=1) if self.plan.normalize else x


def _pool(mode: str, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    count = weight.sum(1).clamp_min(1)
    if mode == "mean":
        return (hidden * weight).sum(1) / count
    if mode == "mean_sqrt_len_tokens":
        return (hidden * weight).sum(1) / count.sqrt()
    if mode == "max":
        return hidden.masked_fill(weight == 0, float("-inf")).max(1).values
    if mode == "weightedmean":
        place = weight * torch.arange(1, 1 + hidden.shape[1], device=hidden.device).to(hidden)[None, :, None]
        return (hidden * place).sum(1) / place.sum(1).clamp_min(1e-9)
    last = (mask.sum(1) - 1).clamp_min(0) if mode == "lasttoken" else torch.zeros_like(mask[:, 0])
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


def read_modules(folder: Path) -> Modules:
    """Read the modules of a folder; without ``modules.json`` (a plain transformer), mean pooling to unit
    length.

    Raises:
        LimbeckError: a module is unknown, dense layers are pickled, or pooling leaves out a prompt.
    """
    if not (folder / "modules.json").is_file():
        return Modules(PoolingPlan())
    listed = read_json(folder / "modules.json")
    modes: tuple[str, ...] = ()
    dense: list[tuple[int, int, bool, str]] = []
    weights: dict[str, torch.Tensor] = {}
    normalize = False
    for module in listed:
        kind, place = str(module["type"]).rsplit(".", 1)[-1], inside(folder, str(module.get("path", "")))
        if kind == "Transformer":
            continue
        if kind == "Pooling":
            modes = _modes(place / "config.json")
        elif kind == "Dense":
            config = read_json(place / "config.json")
            name = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
            if name not in _ACTIVATIONS:
                raise LimbeckError(
                    f"{place / 'config.json'}: activation {name!r} is not supported; use another encoder",
                    code="E-MODEL-UNSUPPORTED",
                )
            for own, tensor in load_tensors(place / "model.safetensors").items():
                weights[f"dense.{len(dense)}.0.{own.rsplit('.', 1)[-1]}"] = tensor.float()
            dense.append((int(config["in_features"]), int(config["out_features"]), config["bias"], name))
        elif kind == "Normalize":
            normalize = True
        else:
            raise LimbeckError(
                f"{folder / 'modules.json'}: module {kind!r} is not supported; "
                "supported are Transformer, Pooling, Dense and Normalize",
                code="E-MODEL-UNSUPPORTED",
            )
    if not modes:
        raise LimbeckError(
            f"{folder / 'modules.json'}: has no Pooling module; use a sentence encoder",
            code="E-MODEL-UNSUPPORTED",
        )
    return Modules(_with_texts(PoolingPlan(modes, tuple(dense), normalize), folder), weights)


def _modes(file: Path) -> tuple[str, ...]:
    config = read_json(file)
    if not config.get("include_prompt", True):
        raise LimbeckError(
            f"{file}: include_prompt: false is not supported (it leaves the prompt out of the mean); "
            "use another encoder",
            code="E-MODEL-UNSUPPORTED",
        )
    one = config.get("pooling_mode")
    named = [one] if isinstance(one, str) else list(one or [])
    modes = tuple(named) or tuple(mode for key, mode in _MODES.items() if config.get(key))
    if not modes or set(modes) - set(_MODES.values()):
        raise LimbeckError(
            f"{file}: pooling_mode {', '.join(modes) or 'none'} is not supported; use another encoder",
            code="E-MODEL-UNSUPPORTED",
        )
    return modes


def _with_texts(plan: PoolingPlan, folder: Path) -> PoolingPlan:
    """Add lower-casing, prompt and length from the folder's other files."""
    if (file := folder / "sentence_bert_config.json").is_file():
        stored = read_json(file)
        lower, length = bool(stored.get("do_lower_case")), stored.get("max_seq_length")
        plan = replace(plan, lower=lower, max_length=length)
    if (file := folder / "config_sentence_transformers.json").is_file():
        stored = read_json(file)
        name = stored.get("default_prompt_name")
        plan = replace(plan, prefix=(stored.get("prompts") or {}).get(name) or "" if name else "")
    return plan
