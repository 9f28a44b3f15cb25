"""Strict JSON that any parser reads, for every value of a column.

| value | written as |
|---|---|
| NaN, infinity, NaT | ``null`` |
| date, time, timestamp | ISO 8601 text |
| duration | ISO 8601 text in seconds, ``PT90.5S`` |
| decimal, UUID, path | plain text, digits kept |
| bytes | base64 text |
| numpy scalars and arrays | numbers and lists |
| a lone surrogate (a file name that is not UTF-8) | its escape ``\\udcXX`` |
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import uuid
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files.atomic import write_atomic
from limbeck.files.recovery import interrupted_replacement
from limbeck.regular import regular_file
from limbeck.typed import Json


def plain_json(value: object) -> Any:
    """Convert a value to dicts, lists, texts, finite numbers, bools and None, by the module's table.

    Raises:
        TypeError: a type that the table lacks.
    """
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): plain_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return [plain_json(inner) for inner in sorted(value, key=str)]
    return _scalar(value)


def _scalar(value: object) -> Json:
    if isinstance(value, Enum):
        return plain_json(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, np.datetime64 | np.timedelta64):
        return _numpy_time(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dt.date | dt.time):
        text = value.isoformat()
        return None if text == "NaT" else text
    if isinstance(value, dt.timedelta):
        return f"PT{_seconds(value)}S"
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else None
    if isinstance(value, PurePath | uuid.UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _seconds(value: dt.timedelta) -> str:
    """Return exact seconds, without an exponent."""
    whole = value // dt.timedelta(microseconds=1)
    return format((Decimal(whole) / 1_000_000).normalize(), "f")


def _numpy_time(value: np.datetime64 | np.timedelta64) -> str | None:
    if np.isnat(value):
        return None
    if isinstance(value, np.datetime64):
        return str(value)
    nanoseconds = int(value.astype("timedelta64[ns]").astype(np.int64))
    return f"PT{format((Decimal(nanoseconds) / 1_000_000_000).normalize(), 'f')}S"


def _key(key: object) -> str:
    """Return a key as in JSON, always a text."""
    if isinstance(key, float):
        return str(float(key))
    plain = plain_json(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return a value as strict JSON text that UTF-8 can encode; see the module's table.

    Raises:
        TypeError: a type that the table lacks.
    """
    text = json.dumps(plain_json(value), indent=indent, ensure_ascii=False, allow_nan=False)
    # Surrogates occur only inside strings, where Python's escape equals JSON's.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_json(path: Path, value: object) -> None:
    """Write a value as strict JSON, indented, atomically (`limbeck.files.atomic_file`)."""
    write_atomic(path, json_text(value, indent=1) + "\n")


def cannot_read(path: Path, error: OSError) -> LimbeckError:
    """Return the one-line error for a file or directory that this user cannot read."""
    fix = "grant read permission" if isinstance(error, PermissionError) else "check the disk, or restore it"
    return LimbeckError(
        f"{error.filename or path}: cannot be read ({error.strerror or error}); {fix}", code="E-PATH-READ"
    )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        LimbeckError: missing, not regular, not readable, damaged, nested too deeply; it names the file.
    """
    try:
        return json.loads(regular_file(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LimbeckError(
            interrupted_replacement(path) or f"{path}: there is no such file; check the path",
            code="E-PATH-MISSING",
        ) from None
    except OSError as error:
        raise cannot_read(path, error) from None
    except RecursionError:
        raise LimbeckError(
            f"{path}: is not valid JSON (nested too deeply); restore or rebuild it", code="E-JSON-SYNTAX"
        ) from None
    except ValueError as error:  # no JSON, no UTF-8, a number of more than 4,300 digits
        cause = str(error).partition(";")[0]
        raise LimbeckError(
            f"{path}: is not valid JSON ({cause}); restore or rebuild it", code="E-JSON-SYNTAX"
        ) from None
