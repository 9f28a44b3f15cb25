"""Pretrained networks of `transformers` from safetensors; a one-line error when they cannot be loaded."""

from __future__ import annotations

import contextlib
import hashlib
import logging as python_logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open

from limbeck.encoders.sources import check_code, check_weights, hub_closed, transformer_folder
from limbeck.errors import LimbeckError


def _mend(error: Exception) -> str:
    """Return what to do about files that transformers cannot load."""
    if isinstance(error, SafetensorError):
        return "a weights file is cut off or damaged: fetch or copy it again"
    return "config.json and the weights must be those of one model: fetch or copy them again"


def pretrained(auto_class: Any, place: Path, source: str) -> Any:
    """Load ``auto_class.from_pretrained`` in float32, from safetensors only.

    Args:
        auto_class: a model class of `transformers`, or ``AutoModel``.
        place: the folder of the source, as `local_folder` gives it.
        source: the source as the user names it, for errors.

    Raises:
        LimbeckError: the source cannot be loaded or is refused, or its weights do not fit the class.
    """
    folder = transformer_folder(place)
    check_code(folder, source)
    check_weights(folder, source)
    try:
        with quiet_transformers(), hub_closed():
            model, loaded = auto_class.from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "ignore_mismatched_sizes" in reason:
            reason = "its weights have other sizes than config.json says; they are of another model"
        raise LimbeckError(
            f"{source}: cannot be loaded ({reason[:160]}); {_mend(error)}",
            code="E-MODEL-DAMAGED",
        ) from error
    weights = dict(model.named_parameters())
    for name in sorted(loaded["missing_keys"]):
        if "pooler" not in name:
            raise LimbeckError(
                f"{source}: a {model.config.model_type} model lacks the weights of {type(model).__name__} "
                f"(first missing: {name}); use a model of that kind",
                code="E-MODEL-UNSUPPORTED",
            )
        # Some sentence encoders lack the pooler, which is never used: zeros make every load equal.
        torch.nn.init.zeros_(weights[name])
    return model


def stored_tensor(folder: Path, name: str) -> torch.Tensor | None:
    """Return one tensor of a folder's safetensors files, or None where no file has it."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            if name in set(tensors.keys()):
                return cast("torch.Tensor", tensors.get_tensor(name))
    return None


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence progress bars and reports of weights that a tower does not use."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    # The hub's client logs every retry; the final error reports the failure once.
    hub = python_logging.getLogger("huggingface_hub")
    hub_before = hub.level
    hub.setLevel(python_logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        hub.setLevel(hub_before)


def attention() -> str:
    """Return the attention that trains fastest: fused on a GPU, plain on the CPU (half the backward time in
    bf16)."""
    return "sdpa" if torch.cuda.is_available() else "eager"


def weights_digest(module: torch.nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
