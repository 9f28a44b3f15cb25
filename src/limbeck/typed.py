"""JSON values as dataclasses: every field must exist with its type, or the error names it."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
else:
    Json = object  # pydantic and `typed` take any value where a class says Json
T = TypeVar("T")
_NOT_IN_NAMES = {"\\", ":", *map(chr, range(32))}  # separators and drives of Windows, control characters


def typed(cls: type[T], value: object, path: Path, fix: str, *, more: bool = False) -> T:
    """Read a JSON value, with its inner values, as a dataclass by its annotations.

    Whole numbers must fit into 64 bits, floats must be finite.

    Args:
        cls: a dataclass of str, int, float, bool, None, Json, list, dict with text keys, and dataclasses.
        value: the value from `json.loads`.
        path: the file, for errors.
        fix: the end of the error message, which tells the user what to do.
        more: True ignores fields that a class does not know.

    Raises:
        LimbeckError: names the first field that is missing, unknown or of another type.
    """
    try:
        return cast("T", _read(cls, value, "", more))
    except _Misfit as error:
        raise LimbeckError(f"{path}: {error}; {fix}", code="E-FILE-FIELD") from None


def map_leaves(tree: T, change: Callable[[object], object]) -> T:
    """Return a tree of dicts and lists in which ``change`` has replaced every value that is neither."""
    found: object
    if isinstance(tree, dict):
        found = {key: map_leaves(inner, change) for key, inner in tree.items()}
    else:
        found = [map_leaves(v, change) for v in tree] if isinstance(tree, list) else change(tree)
    return cast("T", found)


def leaves(tree: object) -> Iterator[object]:
    """Yield every value of a tree of dicts and lists that is neither, in order."""
    if isinstance(tree, dict | list):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(inner)
    else:
        yield tree


def is_inside(name: str) -> bool:
    """Return whether a relative name with slashes stays in its directory, on every system."""
    parts = name.split("/")
    short = all(len(part.encode("utf-8", "surrogatepass")) <= 255 for part in parts)
    return short and all(part not in ("", ".", "..") and not set(part) & _NOT_IN_NAMES for part in parts)


class _Misfit(Exception):
    pass


def _read(kind: object, value: object, at: str, more: bool) -> object:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is object:
        return value
    if origin in (types.UnionType, typing.Union):
        return _one_of(inner, value, at, more)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _fields(kind, value, at, more)
    if origin is list and isinstance(value, list):
        return [_read(inner[0], item, f"{at}[{number}]", more) for number, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _read(inner[1], item, f"{at}.{key}", more) for key, item in value.items()}
    if kind is str and isinstance(value, str):
        return value
    if kind is int and type(value) is int and -(2**63) <= value < 2**63:
        return value
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if kind is float and abs(number) <= 1e300 and math.isfinite(number):
        return float(number)
    if (kind is bool and isinstance(value, bool)) or (kind is types.NoneType and value is None):
        return value
    wanted = getattr(kind, "__name__", str(kind))
    raise _Misfit(f"{_name(at)} is {_shown(value)}, not {wanted}")


def _one_of(kinds: tuple[object, ...], value: object, at: str, more: bool) -> object:
    for kind in kinds[:-1]:
        try:
            return _read(kind, value, at, more)
        except _Misfit:
            continue
    return _read(kinds[-1] if value is None or kinds[-1] is not type(None) else kinds[0], value, at, more)


def _fields(cls: type, value: object, at: str, more: bool) -> object:
    if not isinstance(value, dict):
        raise _Misfit(f"{_name(at)} is {_shown(value)}, not an object")
    kinds, found = typing.get_type_hints(cls), {}
    known = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in value:
        if key not in known and not more:
            raise _Misfit(f"{_name(at)} has an unknown field {_shown(key)}")
    for name, field in known.items():
        if name in value:
            found[name] = _read(kinds[name], value[name], f"{at}.{name}", more)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _Misfit(f"{_name(at)} lacks the field {name!r}")
    return cls(**found)


def _name(at: str) -> str:
    return ascii(at.removeprefix("."))[1:-1][:80] or "the file"


def _shown(value: object) -> str:
    """Return a value of any size as a few characters."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return "a number of more than 64 bits"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return ascii(value)[:60]
