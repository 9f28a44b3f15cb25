"""Overrides of a recipe by dotted key, such as ``lift.bits=16``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from limbeck.errors import LimbeckError
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.training.recipe import Recipe

INHERITED = ("towers", "lift", "optim", "schedule")
"""Keys of a recipe that its stages take over."""
Tree: TypeAlias = dict[str, Any]
"""A recipe as YAML gives it; `Recipe` checks its fields."""
LENGTHS = {"steps", "epochs"}
"""Setting one of them removes the other."""
_ABSENT = object()


def override(tree: Tree, path: list[str], value: Json) -> Tree:
    """Set a key; set an inherited one in every place that has it, so that the override always wins."""
    stages = tree["stages"] if path[0] in INHERITED else {}
    owners = {name: _with(stage, path, value) for name, stage in stages.items() if _has(stage, path)}
    if owners:
        tree = tree | {"stages": stages | owners}
    return tree if owners and not _has(tree, path) else _with(tree, path, value)


def check_reach(recipe: Recipe, tree: Tree, key: str, value: Json) -> None:
    """Refuse an override that some stages take and others, which could, do not.

    Raises:
        LimbeckError: a stage that does not set an inherited key keeps another value than the override.
    """
    path = key.split(".")
    if path[0] not in INHERITED or _has(tree, path):
        return
    taken = [name for name, stage in tree["stages"].items() if _has(stage, path)]
    for name, stage in recipe.stages.items():
        node: object = stage
        for part in path:
            node = node.get(part, _ABSENT) if isinstance(node, dict) else getattr(node, part, _ABSENT)
        if name not in taken and node is not _ABSENT and node != value:
            raise LimbeckError(
                f"{key}: only {', '.join(taken)} set it in this recipe, and {name} would keep {node!r}; "
                f"name each stage, as in stages.{name}.{key}",
                code="E-CONFIG-KEY",
            )


def _has(node: object, path: list[str]) -> bool:
    for key in path:
        if not isinstance(node, dict) or not node.keys() & (LENGTHS if key in LENGTHS else {key}):
            return False
        node = node.get(key)
    return True


def _with(node: object, path: list[str], value: Json, above: str = "") -> Tree:
    """Return a copy of a mapping in which the dotted key has the value."""
    key, *rest = path
    if not isinstance(node, dict):
        raise LimbeckError(
            f"{above}.{'.'.join(path)}: {above!r} holds a value, not further keys", code="E-CONFIG-KEY"
        )
    kept = {k: v for k, v in node.items() if k not in LENGTHS or key not in LENGTHS}
    place = f"{above}.{key}" if above else key
    return kept | {key: _with(node.get(key, {}), rest, value, place) if rest else value}
