"""``limbeck.load`` opens a model by path or hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limbeck.encoders.config import ClipImageConfig, ClipTextConfig, TowerConfig
from limbeck.encoders.device import placed
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.pretrained import found
from limbeck.encoders.sources import model_folder, names_starter
from limbeck.encoders.towers import Tower
from limbeck.plugins import trust_code


def load(
    path_or_hub_id: str | Path, *, device: str | None = None, code: Sequence[Path | str] = ()
) -> DualEncoder:
    """Load a dual encoder from a run, a model directory, a pretrained model of a known format, or a hub id.

    Args:
        path_or_hub_id: a run directory (with ``model/``), a model directory (with ``model.json``), a
            pretrained model (`limbeck.encoders.pretrained`), a hub id, or ``starter``: the model that needs
            only packages of pip (`limbeck.encoders.starter`).
        device: ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; by default the device of `on_device`, else the CPU.
        code: your Python files that define classes of the model; no other code of a model is ever run.

    Raises:
        LimbeckError: there is no model, it is damaged, the device is unknown, or the file of a user-defined
            class is not given.
    """
    for file in code:
        trust_code(file)
    model = placed(_opened(str(path_or_hub_id)), device)
    model.opened_from = str(path_or_hub_id)
    return model


def _opened(source: str) -> DualEncoder:
    folder = model_folder(source)
    if folder is None and names_starter(source):
        from limbeck.encoders.starter import keep_starter

        folder = keep_starter()
    return load_pretrained(source) if folder is None else DualEncoder.load(folder)


def load_pretrained(source: str) -> DualEncoder:
    """Load a pretrained dual encoder with its own preprocessing, tokenizer, logit scale and space.

    Where the towers' projections can be left out, they become the lift's heads.

    Raises:
        LimbeckError: as in `limbeck.encoders.pretrained.found`; the model is damaged or incomplete.
    """
    known, place = found(source)
    image = Tower(TowerConfig(backbone=ClipImageConfig(source=source, projection=known.projects)), "image")
    text = Tower(TowerConfig(backbone=ClipTextConfig(source=source, projection=known.projects)), "text")
    lift = known.lift(place, {"image": image.dim, "text": text.dim})
    return DualEncoder(image, text, lift).eval().requires_grad_(False)
