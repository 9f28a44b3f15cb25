"""Models trained before that a stage reads: under a `run` backbone, or as a frozen teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from limbeck.data.inputs import Input
from limbeck.encoders.config import RunConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.hub import weights_digest
from limbeck.encoders.load import load
from limbeck.encoders.towers import RunBackbone
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.index.manifest import generations
from limbeck.index.store import IndexStore


def trained(path: str, earlier: dict[str, Path], where: str) -> DualEncoder:
    """A run or model directory, or an earlier stage of the same recipe by name."""
    folder = earlier.get(path, Path(path))
    if not folder.is_dir():
        raise LimbeckError(
            f"{where}: no run at {path!r}; give the directory of a trained run, or an earlier stage's name"
        )
    return load(folder)


def origin_of(origin: str, earlier: dict[str, Path]) -> Path:
    """Where a side of a stage starts: an earlier stage, a run or model, or the model of an index."""
    place = earlier.get(origin, Path(origin))
    if not generations(place):
        return place
    found = IndexStore.open(place).encoder_for("image")
    if found is None:
        raise LimbeckError(f"{place}: holds no model of its items; build it with --model RUN")
    return found[0]


def load_teachers(
    specs: dict[str, Input], earlier: dict[str, Path], where: str
) -> dict[str, RunBackbone | None]:
    """The frozen model of each input that has one; None when it may be left out for want of that output.

    Raises:
        LimbeckError: no such model; patches asked of a tower that has none; a space without tangent
            coordinates; a text tower that reads label lists.
    """
    models: dict[str, DualEncoder] = {}
    found: dict[str, RunBackbone | None] = {}
    for name, spec in specs.items():
        if spec.teacher is None:
            continue
        path, output = spec.teacher.model, spec.teacher.output
        if path not in models:
            models[path] = _teacher(path, earlier, where)
        backbone = RunBackbone(RunConfig(path=path, output=output), spec.tower)
        backbone.load_from(models[path])
        backbone.requires_grad_(False).eval()
        _check_usable(backbone, f"{where}.teacher: {path!r}")
        if output == "patches" and not backbone.patches:
            if not spec.teacher.optional:
                raise LimbeckError(
                    f"{where}.target: the teacher at {path!r} has no patch features; "
                    "set target: ema, auto or none"
                )
            found[name] = None
            continue
        found[name] = backbone
    return found


def fingerprint(readers: Mapping[str, RunBackbone]) -> str | None:
    """Hash of the frozen models of some inputs, weights and transforms included; None without any.

    A recipe names a teacher by its place, and another one may stand there when training goes on.
    """
    found = {name: [reader.cache_key(), weights_digest(reader)] for name, reader in readers.items()}
    return sha256_json(found) if found else None


def _check_usable(backbone: RunBackbone, where: str) -> None:
    if backbone.reads == "labels":
        raise LimbeckError(f"{where}: its text tower reads label lists, not texts; choose another teacher")
    if not backbone.lift.has_tangent:
        raise LimbeckError(
            f"{where}: lift {backbone.lift.config.kind} has no tangent space; "
            "take a lift of kind sphere, euclid, tangent or polar"
        )


def _teacher(path: str, earlier: dict[str, Path], where: str) -> DualEncoder:
    try:
        return load(earlier.get(path, path))
    except LimbeckError as error:
        raise LimbeckError(f"{where}.teacher: {error}") from None
