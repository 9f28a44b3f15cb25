"""``limbeck.load`` opens a model by path or hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limbeck.encoders.clip import load_clip
from limbeck.encoders.device import placed
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.sources import is_hub_id
from limbeck.errors import LimbeckError
from limbeck.plugins import trust_code


def load(
    path_or_hub_id: str | Path, *, device: str | None = None, code: Sequence[Path | str] = ()
) -> DualEncoder:
    """Load a dual encoder from a run, a model directory, a `transformers` CLIP directory, or a hub id.

    Args:
        path_or_hub_id: a run directory (with ``model/``), a model directory (with ``model.json``), the
            directory of a `transformers` CLIP model (with ``config.json``), or a hub id.
        device: ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; by default the device of `on_device`, else the CPU.
        code: your Python files that define classes of the model; no other code of a model is ever run.

    Raises:
        LimbeckError: no model there, a damaged model, an unknown device, a user-defined class without its
            file.
    """
    for file in code:
        trust_code(file)
    folder = Path(path_or_hub_id)
    for candidate in (folder, folder / "model"):
        if (candidate / "model.json").is_file():
            return placed(DualEncoder.load(candidate), device)
    if folder.is_dir() and not (folder / "config.json").is_file():
        hint = (
            "the run has not finished; continue it with: limbeck train --resume"
            if (folder / "recipe.yaml").is_file()
            else "use a run, a model directory or a CLIP directory"
        )
        raise LimbeckError(f"{folder}: contains no model; {hint}")
    if not folder.is_dir() and not is_hub_id(str(path_or_hub_id)):
        raise LimbeckError(f"{folder}: no such run or model directory, nor a hub id (OWNER/NAME)")
    return placed(load_clip(str(path_or_hub_id)), device)
