"""Read the metadata of a run directory: method, seed, protocol, data set, training time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.data.yaml_files import read_yaml
from limbeck.encoders.identity import identity
from limbeck.errors import LimbeckError
from limbeck.files import read_json, sha256_json
from limbeck.typed import Json


@dataclass(frozen=True)
class RunFacts:
    """Facts about the origin of a model; a fact that was not recorded is None.

    Attributes:
        run: name of the model in results.
        label: name of the recipe, else of the method.
        method: name of the method of the stage that gave the model.
        folder: the run directory; None for a model that is not a run.
        seed: the seed of the run.
        protocol: name of the protocol.
        protocol_hash: hash of the protocol.
        pairs: path of the data set.
        hidden: labels that some stage withheld.
        like: the repository whose selection on the test queries chose the step (``data.like``).
        stage: name of the stage that gave the model.
        recipe: hash of the settings; equal for runs that differ only in seed, split and paths.
        seconds: ``train`` → seconds of training, where recorded.
    """

    run: str
    label: str
    method: str
    folder: Path | None = None
    seed: int | None = None
    protocol: str | None = None
    protocol_hash: str | None = None
    pairs: str | None = None
    hidden: list[str] = field(default_factory=list)
    like: str | None = None
    stage: str = ""
    recipe: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def read_run_facts(model: object) -> RunFacts:
    """Read the facts of a run directory (or its ``model/``), another path, or a model in memory."""
    if not isinstance(model, (str, Path)):
        return RunFacts("in memory", type(model).__name__, type(model).__name__)
    path = Path(model)
    for folder in (path, path.parent) if path.name == "model" else (path,):
        if (folder / "run.json").is_file() or (folder / "recipe.yaml").is_file():
            return _from_run(folder)
    return RunFacts(str(model), path.name, "model")


def _from_run(folder: Path) -> RunFacts:
    run = _mapping(folder / "run.json", read_json)
    recipe = _mapping(folder / "recipe.yaml", read_yaml)
    data = _inner(recipe, "data") | _inner(run, "data")
    stages = stage_list(recipe)
    last = _inner(stages[-1], "method") if stages else {}
    methods = run.get("methods")
    method = (methods[-1] if isinstance(methods, list) and methods else last.get("name")) or "unknown"
    label = run.get("recipe") or recipe.get("name") or method
    seed = run.get("seed", recipe.get("seed"))
    trained = run.get("seconds")
    return RunFacts(
        run=str(folder),
        label=str(label),
        method=str(method),
        folder=folder,
        seed=seed if isinstance(seed, int) else None,
        protocol=_text(run.get("protocol") or data.get("protocol")),
        protocol_hash=_text(run.get("protocol_hash")),
        pairs=_text(run.get("pairs") or data.get("pairs")),
        like=_text(data.get("like")),
        recipe=settings_hash(folder) if recipe else None,
        stage=str(_inner(run, "chosen").get("stage") or stages[-1].get("name")) if stages else "",
        hidden=sorted({name for stage in stages for name in _labels(stage)}),
        seconds={"train": float(trained)} if isinstance(trained, (int, float)) else {},
    )


# Recipe keys that may differ between repeats of one method, or that do not change any score.
_OF_ONE_RUN = {
    "": {"name", "note", "cache", "seed", "compute", "loggers"},
    "data": {"pairs", "protocol"},
    "schedule": {"checkpoint_every", "log_every"},
}


def settings_hash(run: Path) -> str:
    """Return the hash of a run's recipe without seed, split and paths, which differ between repeats.

    A path to another run is replaced by the hash of that run's settings.
    """
    recipe = _mapping(run / "recipe.yaml", read_yaml)
    if stages := stage_list(recipe):
        recipe["stages"] = stages
    stage_names = {str(stage.get("name")) for stage in stages}
    return sha256_json(_settings(identity(recipe), "", stage_names))


def stage_list(recipe: object) -> list[dict[str, Any]]:
    """Return the stages of a recorded recipe, each with its ``name``; version 0.1 recorded such a list.

    Hashes of recipes contain this list, so that runs of both versions have equal hashes.
    """
    stages = recipe.get("stages") if isinstance(recipe, dict) else None
    if isinstance(stages, dict):
        return [{"name": name, **stage} for name, stage in stages.items()]
    return stages if isinstance(stages, list) else []


def _settings(value: Json, key: str, stages: set[str]) -> Json:
    if isinstance(value, dict):
        dropped = _OF_ONE_RUN.get(key, set())
        return {k: _settings(inner, k, stages) for k, inner in value.items() if k not in dropped}
    if isinstance(value, list):
        return [_settings(inner, "[]", stages) for inner in value]
    # The name of a stage is not a path, even where a folder has that name.
    if isinstance(value, str) and value not in stages and (Path(value) / "recipe.yaml").is_file():
        return settings_hash(Path(value))
    return value


def _mapping(file: Path, reader: Callable[[Path], object]) -> dict[str, Json]:
    if not file.is_file():
        return {}
    content = reader(file)
    if not isinstance(content, dict):
        raise LimbeckError(
            f"{file}: is not a mapping of keys; restore it or train again", code="E-CONFIG-FORM"
        )
    return content


def _inner(mapping: object, key: str) -> dict[str, Json]:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, dict) else {}


def _labels(stage: dict[str, Json]) -> list[str]:
    hidden = _inner(stage, "hide").get("labels")
    return list(map(str, hidden)) if isinstance(hidden, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
