"""Decide whether two recipes give the same weights, ignoring names, paths and logging intervals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limbeck.data.contents import FILE as CONTENTS
from limbeck.data.protocols import load_protocol, protocol_file
from limbeck.encoders.identity import identity
from limbeck.errors import LimbeckError
from limbeck.evaluation.run_metadata import stage_list
from limbeck.files import read_json, sha256_json
from limbeck.training.recipe import Recipe, load_recipe, recorded_recipe


def recipe_identity(recipe: Recipe, *, protocol: str | None = None) -> str:
    """Return the hash of everything in a recipe that changes weights.

    A protocol file counts by its content, independent of its path; a packaged protocol counts by its name.

    Args:
        recipe: the resolved recipe.
        protocol: hash of the protocol that a run was trained under, if it is known.
    """
    tree = weights_tree(recipe)
    if protocol_file(recipe.data.protocol) is not None:
        tree["data"]["protocol"] = protocol or load_protocol(recipe.data.protocol).hash
    elif protocol is not None and recipe.data.protocol.endswith((".yaml", ".yml")):
        tree["data"]["protocol"] = protocol  # its file is gone, its hash is on record
    return sha256_json(identity(tree))


def identity_by_path(recipe: Recipe) -> str:
    """Return the `recipe_identity` of older versions, in which a protocol file counted by its path."""
    return sha256_json(identity(weights_tree(recipe)))


def weights_tree(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as a mapping, without the keys that change no weight."""
    tree = recipe.model_dump(mode="json")
    for key in ("name", "note", "cache", "loggers"):
        tree.pop(key)
    for key in ("workers", "recompute", "shard"):
        tree["compute"].pop(key)
    tree["data"].pop("pairs")
    tree["stages"] = stage_list(tree)
    for stage in tree["stages"]:
        stage["schedule"].pop("checkpoint_every")
        stage["schedule"].pop("log_every")
        stage["schedule"].pop("keep")
    return tree


def differing_key(run: Path, wanted: Recipe) -> str | None:
    """Return the first key in which a run's recipe differs from ``wanted``; None if they agree.

    Raises:
        LimbeckError: the run's recipe cannot be read.
    """
    found = load_recipe(recorded_recipe(run), code=False)
    recorded = _protocol_on_record(run)
    if recipe_identity(found, protocol=recorded) == recipe_identity(wanted):
        return None
    if identity_by_path(found) == identity_by_path(wanted):
        return "data.protocol, whose file has changed"
    return next(_differing(weights_tree(found), weights_tree(wanted)), "a key")


def check_same_recipe(run: Path, wanted: Recipe) -> None:
    """Raise `LimbeckError` if a run was trained with another recipe; the message names the key."""
    key = differing_key(run, wanted)
    if key in ("compute.devices", "compute.nodes"):
        began = load_recipe(recorded_recipe(run), code=False).compute
        raise LimbeckError(
            f"{run}: began with compute.devices={began.devices} compute.nodes={began.nodes}, and another "
            "number of processes draws other dropout; give these numbers, or choose another --out",
            code="E-RUN-OTHER-SETTINGS",
        )
    if key is not None:
        raise LimbeckError(
            f"{run}: was trained with another recipe ({key} in {run / 'recipe.yaml'}); choose another --out",
            code="E-RUN-OTHER-SETTINGS",
        )


def _protocol_on_record(run: Path) -> str | None:
    for name, key in ((CONTENTS, "rules"), ("run.json", "protocol_hash")):
        if (run / name).is_file():
            found = read_json(run / name)
            if isinstance(found, dict) and isinstance(found.get(key), str):
                return str(found[key])
    return None


def _differing(one: object, other: object, path: str = "") -> Iterator[str]:
    """Yield the dotted keys at which two trees differ; stages are compared by name."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            yield from _differing(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            name = a.get("name", number) if isinstance(a, dict) else number
            yield from _differing(a, b, f"{path}.{name}")
    elif one != other and not (path == "data.protocol" and _same_protocol(str(one), str(other))):
        yield path


def _same_protocol(one: str, other: str) -> bool:
    try:
        return load_protocol(one).hash == load_protocol(other).hash
    except LimbeckError:
        return False
