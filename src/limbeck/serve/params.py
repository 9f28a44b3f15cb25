"""Reads query parameters into a model. FastAPI's own way takes longer than the search of a small index."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import JsonSchemaValue

from limbeck.errors import LimbeckError

M = TypeVar("M", bound=BaseModel)
_MOST = 200


def described(model: type[BaseModel], *more: JsonSchemaValue) -> JsonSchemaValue:
    """Return the OpenAPI description of a model's fields as query parameters."""
    properties = model.model_json_schema()["properties"]
    return {"parameters": [*more, *(_parameter(name, schema) for name, schema in properties.items())]}


def _parameter(name: str, schema: JsonSchemaValue) -> JsonSchemaValue:
    text = schema.pop("description", "")
    return {"name": name, "in": "query", "required": False, "description": text, "schema": _not_null(schema)}


def _not_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Leave out null, which no query parameter can be."""
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind.get("type") != "null"]
    schema = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    return schema | (kinds[0] if kinds else {})


def parsed(model: type[M], request: Request) -> M:
    """Return the query parameters of a request; list fields take all values of their name, others the last.

    Raises:
        RequestValidationError: a parameter is unknown or invalid.
        LimbeckError: there are too many.
    """
    lists = _lists(model)
    several: dict[str, list[str]] = {}
    single: dict[str, str] = {}
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("utf-8", "replace"),
            keep_blank_values=True,
            max_num_fields=_MOST,
        )
    except ValueError:
        raise LimbeckError(
            f"query: has more than {_MOST} parameters; send fewer", code="E-REQUEST-FORM"
        ) from None
    for name, value in pairs:
        if name in lists:
            several.setdefault(name, []).append(value)
        else:
            single[name] = value
    return checked(model, {**single, **several})


def checked(model: type[M], value: Mapping[str, object] | bytes) -> M:
    """Return a model from a mapping or from JSON.

    Raises:
        RequestValidationError: a field is unknown or invalid.
    """
    try:
        return model.model_validate_json(value) if isinstance(value, bytes) else model.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


@functools.cache
def _lists(model: type[BaseModel]) -> set[str]:
    fields = model.model_fields.items()
    return {field.alias or name for name, field in fields if field.default_factory is list}
