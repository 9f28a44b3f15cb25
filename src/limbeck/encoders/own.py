"""User-defined towers and lifts: a class in a Python file, named by its kind, ``mine.py:Tower``."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from pydantic import ValidationError

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.config import OwnConfig, Strict
from limbeck.encoders.lifts.base import Lift
from limbeck.errors import LimbeckError
from limbeck.plugins import named_class, saved_class

_Part = TypeVar("_Part", Backbone, Lift)


def build_own_backbone(config: OwnConfig, *, saved: bool) -> Backbone:
    """Build a user-defined backbone.

    Args:
        config: its kind and options.
        saved: True for a saved model: the user must have named its file, and its weights are loaded next (a
            class with an argument ``empty`` gets True and loads none).
    """
    found, own = _class_and_config(config, Backbone, "tower", saved)  # type: ignore[type-abstract]
    takes_empty = "empty" in inspect.signature(found.__init__).parameters
    return found(own, **({"empty": saved} if takes_empty else {}))


def build_own_lift(config: OwnConfig, dims: dict[str, int], *, saved: bool) -> Lift:
    """Build a user-defined lift for towers of the given widths."""
    found, own = _class_and_config(config, Lift, "lift", saved)  # type: ignore[type-abstract]
    lift = found(own, dims)
    lift.named = config
    return lift


def check_own(config: OwnConfig, base: type[Any], what: str) -> None:
    """Check the class and the options that a recipe names; the file is reported and run."""
    _class_and_config(config, base, what, saved=False)


def _class_and_config(
    config: OwnConfig, base: type[_Part], what: str, saved: bool
) -> tuple[type[_Part], Strict]:
    if saved:
        found = saved_class(config.kind, config.sha256, base, what)
    else:
        found = named_class(config.kind, base, what, sha256=config.sha256)
    options = getattr(found, "Config", None)
    if not (isinstance(options, type) and issubclass(options, Strict)):
        raise LimbeckError(
            f"{config.kind}: has no class Config derived from Strict; add one", code="E-PLUGIN-CLASS"
        )
    try:
        return found, options.model_validate(config.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known = ", ".join(sorted(options.model_fields)) or "none"
        raise LimbeckError(
            f"{config.kind}: {where}: {first['msg']}; its options are {known}", code="E-CONFIG-VALUE"
        ) from None
