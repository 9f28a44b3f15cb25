"""Pretrained weights by directory, hub id, or installed package; one clear line when they cannot be had."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging as python_logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from limbeck.errors import LimbeckError


def resolve(source: str) -> str:
    """A local directory for ``package:NAME`` (a pip package that carries a model), else ``source`` itself."""
    if not source.startswith("package:"):
        return source
    name = source.removeprefix("package:").replace("-", "_")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LimbeckError(
            f"{source}: the package is not installed; run: pip install {name.replace('_', '-')}"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    folders = sorted(
        path.parent for path in root.rglob("config.json") if list(path.parent.glob("*.safetensors"))
    )
    if not folders:
        raise LimbeckError(f"{source}: the package holds no folder with config.json and safetensors weights")
    return str(folders[0])


def lasting(source: str | None) -> str | None:
    """The source as it is to be written down: a local directory by its absolute path."""
    return str(Path(source).resolve()) if source is not None and Path(source).is_dir() else source


def pretrained(auto_class: Any, source: str) -> Any:
    """``auto_class.from_pretrained`` in float32 from safetensors only, with errors a person can act on."""
    where = resolve(source)
    local = Path(where).is_dir()
    if local and list(Path(where).glob("*.bin")) and not list(Path(where).glob("*.safetensors")):
        raise LimbeckError(f"{source}: holds pickled weights (.bin) only; convert them to safetensors first")
    try:
        with _quiet_transformers():
            model, loaded = auto_class.from_pretrained(
                where,
                local_files_only=local,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LimbeckError(
            f"{source}: cannot be loaded ({reason[:160]}); give a local directory or a reachable hub id"
        ) from error
    weights = dict(model.named_parameters())
    for name in sorted(loaded["missing_keys"]):
        if "pooler" not in name:
            raise LimbeckError(
                f"{source}: a {model.config.model_type} model that lacks weights of {type(model).__name__} "
                f"(first: {name}); give a model of that kind"
            )
        # Some sentence encoders come without the pooler, which is never used: the same weights at each load.
        torch.nn.init.zeros_(weights[name])
    return model


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars, and no reports of weights that a tower leaves aside."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    # The hub's client tells of every retry; the error at their end says it once.
    hub = python_logging.getLogger("huggingface_hub")
    hub_before = hub.level
    hub.setLevel(python_logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        hub.setLevel(hub_before)


def attention() -> str:
    """Attention that trains fastest: fused on a GPU, plain on the CPU (half the backward time in bf16)."""
    return "sdpa" if torch.cuda.is_available() else "eager"


def weights_digest(module: torch.nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
