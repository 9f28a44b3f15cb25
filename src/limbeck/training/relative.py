"""Find the relative paths of a recipe or grid file: in the working directory, then beside that file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from limbeck.data.protocols import list_protocols, protocol_file
from limbeck.data.resampling import base_name
from limbeck.plugins import own_name

_PROTOCOLS = {"protocol", "protocols", "extra_protocols"}
_PATHS = {"pairs", "teacher", "init", "source", "path", "file", "names"}
"""Keys whose texts, and the texts below them, name files or directories."""


def beside(value: object, folder: Path, stages: Collection[str] = (), key: str = "") -> Any:
    """Replace each relative path that exists only beside the file with one that leads there.

    Args:
        value: the content of the file, or of one of its keys.
        folder: the directory of the file.
        stages: names of stages, which take precedence over paths.
        key: dotted key of ``value``.

    Returns:
        The same content. A path that is found in the working directory, or nowhere, stays as it is.
    """
    if isinstance(value, dict):
        return {k: beside(inner, folder, stages, f"{key}.{k}") for k, inner in value.items()}
    if isinstance(value, list):
        return [beside(inner, folder, stages, key) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    keys = key.split(".")
    if keys[-1] in _PROTOCOLS:
        return _protocol(value, folder)
    own = own_name(value)
    if own is not None:
        found = not own.file.exists() and (folder / own.file).is_file()
    else:
        named = keys[-1] in _PATHS or keys[-2:-1] == ["init"]
        found = named and value not in stages and not Path(value).exists() and (folder / value).exists()
    return str(folder / value) if found else value


def _protocol(name: str, folder: Path) -> str:
    packaged = {name, base_name(name)} & set(list_protocols())
    if packaged or protocol_file(name) is not None or protocol_file(str(folder / name)) is None:
        return name
    return str(folder / name)
