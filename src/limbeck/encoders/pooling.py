"""From token states to one vector per text, as the modules of a sentence encoder say."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.encoders.tensors import load_tensors
from limbeck.errors import LimbeckError
from limbeck.files import read_json

# In the order in which several of them stand side by side.
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
    """What happens to the token states of a text.

    Attributes:
        modes: ways to pool, side by side: cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken.
        dense: linear layers after it, each (width in, width out, bias, activation).
        normalize: to unit length at the end.
        lower: texts are lower-cased first.
        prefix: stands before each text (the encoder's default prompt).
        max_length: tokens that the encoder reads at most, if its files say it.
    """

    modes: tuple[str, ...] = ("mean",)
    dense: tuple[tuple[int, int, bool, str], ...] = ()
    normalize: bool = True
    lower: bool = False
    prefix: str = ""
    max_length: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What `plan_from_json` reads."""
        return asdict(self)


@dataclass(frozen=True)
class Modules:
    """A plan, and the weights of its dense layers, if it has any."""

    plan: PoolingPlan
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


def plan_from_json(stored: dict[str, Any]) -> PoolingPlan:
    """A plan from its `to_json`."""
    lists = {"modes": tuple(stored["modes"]), "dense": tuple(tuple(own) for own in stored["dense"])}
    return PoolingPlan(**{**stored, **lists})


class Pooler(nn.Module):
    """Token states (B, L, D) and mask (B, L) to float32 (B, dim)."""

    def __init__(self, plan: PoolingPlan, width: int) -> None:
        super().__init__()
        self.plan = plan
        self.dense = nn.ModuleList(
            nn.Sequential(nn.Linear(i, o, bias=bias), _ACTIVATIONS[name]()) for i, o, bias, name in plan.dense
        )
        self.dim = plan.dense[-1][1] if plan.dense else width * len(plan.modes)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Pooled, through the dense layers, to unit length if the plan says so."""
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
    """The modules of a folder; mean and unit length where it says nothing (a plain transformer).

    Raises:
        LimbeckError: modules that are not known, pickled dense layers, a prompt that is not pooled.
    """
    if not (folder / "modules.json").is_file():
        return Modules(PoolingPlan())
    told = read_json(folder / "modules.json")
    modes: tuple[str, ...] = ()
    dense: list[tuple[int, int, bool, str]] = []
    weights: dict[str, torch.Tensor] = {}
    normalize = False
    for module in told:
        kind, place = str(module["type"]).rsplit(".", 1)[-1], _inside(folder, str(module.get("path", "")))
        if kind == "Transformer":
            continue
        if kind == "Pooling":
            modes = _modes(place / "config.json")
        elif kind == "Dense":
            config = read_json(place / "config.json")
            name = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
            if name not in _ACTIVATIONS:
                raise LimbeckError(f"{place / 'config.json'}: activation {name!r} is not known here")
            for own, tensor in load_tensors(place / "model.safetensors").items():
                weights[f"dense.{len(dense)}.0.{own.rsplit('.', 1)[-1]}"] = tensor.float()
            dense.append((int(config["in_features"]), int(config["out_features"]), config["bias"], name))
        elif kind == "Normalize":
            normalize = True
        else:
            raise LimbeckError(
                f"{folder / 'modules.json'}: module {kind!r} is not known here; "
                "known are Transformer, Pooling, Dense and Normalize"
            )
    if not modes:
        raise LimbeckError(f"{folder / 'modules.json'}: has no Pooling module; give a sentence encoder")
    return Modules(PoolingPlan(modes, tuple(dense), normalize, **_texts(folder)), weights)


def transformer_folder(folder: Path) -> Path:
    """Where the transformer of a folder lies: in it, or in a folder of it that ``modules.json`` names."""
    if (folder / "config.json").is_file() or not (folder / "modules.json").is_file():
        return folder
    told: list[dict[str, Any]] = read_json(folder / "modules.json")
    paths = [str(own.get("path", "")) for own in told if str(own["type"]).endswith("Transformer")]
    return _inside(folder, paths[0]) if paths else folder


def _inside(folder: Path, path: str) -> Path:
    if path in (".", "..") or "/" in path.rstrip("/") or "\\" in path:
        raise LimbeckError(f"{folder / 'modules.json'}: path {path!r} is no folder of it; restore it")
    return folder / path


def _modes(file: Path) -> tuple[str, ...]:
    config = read_json(file)
    if not config.get("include_prompt", True):
        raise LimbeckError(
            f"{file}: leaves the prompt out of the mean (include_prompt), which is not known here"
        )
    one = config.get("pooling_mode")
    asked = [one] if isinstance(one, str) else list(one or [])
    found = tuple(asked) or tuple(mode for key, mode in _MODES.items() if config.get(key))
    if not found or set(found) - set(_MODES.values()):
        raise LimbeckError(f"{file}: pooling {', '.join(found) or 'by nothing'} is not known here")
    return found


def _texts(folder: Path) -> dict[str, Any]:
    """Lower case, prompt and length, as the folder's other files say them."""
    found: dict[str, Any] = {}
    if (file := folder / "sentence_bert_config.json").is_file():
        told = read_json(file)
        found = {"lower": bool(told.get("do_lower_case")), "max_length": told.get("max_seq_length")}
    if (file := folder / "config_sentence_transformers.json").is_file():
        told = read_json(file)
        name = told.get("default_prompt_name")
        found["prefix"] = (told.get("prompts") or {}).get(name) or "" if name else ""
    return found
