"""What a run directory says about itself: method, seed, protocol, data set, how long it trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.data.yaml_files import read_yaml
from limbeck.encoders.config import identity
from limbeck.errors import LimbeckError
from limbeck.files import read_json, sha256_json


@dataclass(frozen=True)
class RunFacts:
    """Facts about a model's origin; what nobody wrote down is None.

    Attributes:
        folder: the run directory, None for a model that is no run.
        run: how the model is called in results.
        label: the recipe's name, else the method's.
        hidden: labels that some stage was not to know.
        like: the repository like which the step was chosen on the test queries (``data.like``).
        stage: name of the last stage.
        recipe: hash of the settings, equal for runs that differ in nothing but seed, split and places.
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
    """Facts about a run directory (or its ``model/``), another path, or a model in memory."""
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
    stages = recipe.get("stages") or []
    last = _inner(stages[-1], "method") if isinstance(stages, list) and stages else {}
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
        stage=str(stages[-1].get("name")) if stages else "",
        hidden=sorted({name for stage in stages for name in _inner(stage, "hide").get("labels", [])}),
        seconds={"train": float(trained)} if isinstance(trained, (int, float)) else {},
    )


# Keys of a recipe that tell repeats of one method apart, or change no figure.
_OF_ONE_RUN = {
    "": {"name", "note", "cache", "seed", "compute"},
    "data": {"pairs", "protocol"},
    "schedule": {"checkpoint_every", "log_every"},
}


def settings_hash(run: Path) -> str:
    """Hash of a run's recipe without what tells repeats of one method apart: seed, split, places.

    Another run that it reads counts by that run's own settings.
    """
    recipe = _mapping(run / "recipe.yaml", read_yaml)
    stages = recipe.get("stages") or []
    own = {str(stage.get("name")) for stage in stages if isinstance(stage, dict)}
    return sha256_json(_settings(identity(recipe), "", own))


def _settings(value: Any, key: str, stages: set[str]) -> Any:
    if isinstance(value, dict):
        dropped = _OF_ONE_RUN.get(key, set())
        return {k: _settings(inner, k, stages) for k, inner in value.items() if k not in dropped}
    if isinstance(value, list):
        return [_settings(inner, "[]", stages) for inner in value]
    # A stage's name is no folder, though one may be called so.
    if isinstance(value, str) and value not in stages and (Path(value) / "recipe.yaml").is_file():
        return settings_hash(Path(value))
    return value


def _mapping(file: Path, reader: Any) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content = reader(file)
    if not isinstance(content, dict):
        raise LimbeckError(f"{file}: not a mapping of keys; restore it or train again")
    return content


def _inner(mapping: Any, key: str) -> dict[str, Any]:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
