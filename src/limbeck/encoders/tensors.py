"""Tensors to and from safetensors files, with clear errors. Pickle is never used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from limbeck.errors import LimbeckError


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write detached CPU copies.

    Raises:
        OSError: the disk is full (the caller's directory is then removed).
    """
    try:
        save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, str(path))
    except SafetensorError as error:
        raise OSError(None, f"writing {path.name} failed: {error}") from error


def load_tensors(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, torch.Tensor]:
    """Read a safetensors file, or the tensors whose names are wanted.

    Raises:
        LimbeckError: the file is missing, truncated, damaged or a pickle.
    """
    if not path.is_file():
        raise LimbeckError(
            f"{path}: there is no such file; the directory is incomplete", code="E-PATH-MISSING"
        )
    try:
        with safe_open(str(path), "pt") as file:
            return {
                name: file.get_tensor(name) for name in sorted(file.keys()) if wanted is None or wanted(name)
            }
    except (SafetensorError, ValueError, OSError) as error:
        with path.open("rb") as stream:
            head = stream.read(2)
        pickled = head[:1] == b"\x80" or head == b"PK"
        kind = "a pickle or zip archive, which is never loaded" if pickled else "truncated or damaged"
        raise LimbeckError(
            f"{path}: is not a readable safetensors file ({kind}); restore it or train again",
            code="E-FILE-DAMAGED",
        ) from error
