"""The key ``source`` of a recipe: the pretrained model that ``$source`` stands for in its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from limbeck.errors import LimbeckError
from limbeck.typed import leaves, map_leaves

SOURCE = "$source"
T = TypeVar("T")


def with_source(tree: dict[str, T], where: str) -> dict[str, T]:
    """Return a recipe without the key ``source``, whose value replaces every ``$source``.

    Without the key, ``$source`` stays, so that the recipe can be listed; `check_source` refuses to run it.

    Raises:
        LimbeckError: ``source`` is no text, or nothing in the recipe takes it.
    """
    source = tree.get("source")
    if source is None:
        return {key: value for key, value in tree.items() if key != "source"}
    if not isinstance(source, str):
        raise LimbeckError(
            f"{where}: source must be a directory or hub id, found {source!r}", code="E-CONFIG-VALUE"
        )
    if SOURCE not in leaves(tree):
        raise LimbeckError(
            f"{where}: takes no source, since none of its keys is {SOURCE!r}; set the towers' own "
            "(towers.image.backbone.source)",
            code="E-CONFIG-KEY",
        )
    kept = {key: value for key, value in tree.items() if key != "source"}
    return map_leaves(kept, lambda value: source if value == SOURCE else value)


def check_source(tree: Mapping[str, object], where: str) -> None:
    """Refuse a stage that still holds ``$source``.

    Raises:
        LimbeckError: the stage holds it.
    """
    if SOURCE in leaves(tree):
        raise LimbeckError(
            f"{where}: needs a pretrained model; give source=DIR or source=OWNER/NAME", code="E-CONFIG-KEY"
        )
