"""Load trained models that a stage reads, as a `run` backbone or as a frozen teacher."""

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
    """Load a run or model directory, or an earlier stage of the same recipe by name.

    Raises:
        LimbeckError: there is no such directory or stage.
    """
    folder = earlier.get(path, Path(path))
    if not folder.is_dir():
        raise LimbeckError(
            f"{where}: there is no run at {path!r}; give a run directory, or the name of an earlier stage",
            code="E-RUN-MISSING",
        )
    return load(folder)


def origin_of(origin: str, earlier: dict[str, Path]) -> Path:
    """Return the model directory that a tower starts from: an earlier stage, a run, a model, or an index's.

    Raises:
        LimbeckError: an index holds no model.
    """
    place = earlier.get(origin, Path(origin))
    if not generations(place):
        return place
    encoder = IndexStore.open(place).encoder_for("image")
    if encoder is None:
        raise LimbeckError(
            f"{place}: holds no model of its items; build it with --model RUN", code="E-INDEX-MODEL"
        )
    return encoder[0]


def load_teachers(
    specs: dict[str, Input], earlier: dict[str, Path], where: str
) -> dict[str, RunBackbone | None]:
    """Load the frozen teacher of each input that has one.

    Args:
        specs: the method's inputs by name.
        earlier: model directories of the earlier stages by name.
        where: key of the method in the recipe, for messages.

    Returns:
        The teacher per input; None if the teacher is optional and its tower lacks patch features.

    Raises:
        LimbeckError: there is no such model, its tower lacks required patch features, its space has no
            tangent space, or its text tower reads label lists.
    """
    models: dict[str, DualEncoder] = {}
    teachers: dict[str, RunBackbone | None] = {}
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
                    "set target: ema, auto or none",
                    code="E-MODEL-LACKS",
                )
            teachers[name] = None
            continue
        teachers[name] = backbone
    return teachers


def fingerprint(readers: Mapping[str, RunBackbone]) -> str | None:
    """Return the hash of the teachers' weights and transforms, or None without teachers.

    A recipe names a teacher by its path, where another model may be when training resumes.
    """
    digests = {name: [reader.cache_key(), weights_digest(reader)] for name, reader in readers.items()}
    return sha256_json(digests) if digests else None


def _check_usable(backbone: RunBackbone, where: str) -> None:
    if backbone.reads == "labels":
        raise LimbeckError(
            f"{where}: its text tower reads label lists, not texts; choose another teacher",
            code="E-MODEL-INPUT",
        )
    if backbone.output != "embeddings" and not backbone.lift.has_tangent:
        raise LimbeckError(
            f"{where}: lift {backbone.lift.config.kind} has no tangent space; "
            "use a teacher with a lift of kind sphere, euclid, tangent or polar",
            code="E-MODEL-LACKS",
        )


def _teacher(path: str, earlier: dict[str, Path], where: str) -> DualEncoder:
    try:
        return load(earlier.get(path, path))
    except LimbeckError as error:
        raise LimbeckError(f"{where}.teacher: {error}", code=error.code) from None
