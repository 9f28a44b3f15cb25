"""One-line errors of strict pydantic models, with the current or the nearest name of an unknown key."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, ValidationError

from limbeck.errors import LimbeckError, proposal


def describe(error: ValidationError, model: type[BaseModel], source: str) -> LimbeckError:
    """Turn a validation error into a `LimbeckError` that names the file, the field and the fix.

    Args:
        error: the error of pydantic.
        model: the validated model, for its known keys.
        source: the file (or name) with the error.
    """
    # A misspelt key is also reported as a missing one: report the cause, not the consequence.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        models, key = _models_at(model, first["loc"][:-1]), str(first["loc"][-1])
        for renamed in (getattr(m, "renamed", {}) for m in models):
            if key in renamed:
                return LimbeckError(
                    f"{source}: key {where!r} is now named {renamed[key]!r}; rename it{more}",
                    code="E-CONFIG-KEY",
                )
        known = sorted({name for m in models for name in m.model_fields})
        hint = proposal(key, known) if known else "this part has no keys; remove it"
        return LimbeckError(f"{source}: key {where!r} is unknown; {hint}{more}", code="E-CONFIG-KEY")
    if first["type"] == "missing":
        return LimbeckError(f"{source}: key {where!r} is missing{more}", code="E-CONFIG-KEY")
    reason = str(first["msg"]).removeprefix("Value error, ")
    return LimbeckError(f"{source}: {where + ': ' if where else ''}{reason}{more}", code="E-CONFIG-VALUE")


def _models_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """Return the models at a location; a member of a union is found by its class name or kind."""
    models = [model]
    for part in location:
        inner = [m for m in models if part in (m.__name__, _kind(m))]
        if inner:
            models = inner
            continue
        fields = [m.model_fields[str(part)].annotation for m in models if str(part) in m.model_fields]
        models = [found for annotation in fields for found in _models_in(annotation)] or models
    return models


def _kind(model: type[BaseModel]) -> object:
    """Return the value that distinguishes the members of a union; None outside a union."""
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
