"""The key ``source`` of a recipe: the pretrained model that ``$source`` stands for in its stages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from limbeck.errors import LimbeckError

SOURCE = "$source"


def with_source(tree: dict[str, Any], where: str) -> dict[str, Any]:
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
    if SOURCE not in _texts(tree):
        raise LimbeckError(
            f"{where}: takes no source, since none of its keys is {SOURCE!r}; set the towers' own "
            "(towers.image.backbone.source)",
            code="E-CONFIG-KEY",
        )
    return {key: _replaced(value, source) for key, value in tree.items() if key != "source"}


def check_source(tree: dict[str, Any], where: str) -> None:
    """Refuse a stage that still holds ``$source``.

    Raises:
        LimbeckError: the stage holds it.
    """
    if SOURCE in _texts(tree):
        raise LimbeckError(
            f"{where}: needs a pretrained model; give source=DIR or source=OWNER/NAME", code="E-CONFIG-KEY"
        )


def _replaced(value: Any, source: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, source) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, source) for inner in value]
    return source if value == SOURCE else value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
