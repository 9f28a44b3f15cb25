"""JSON of caption sets, read with errors that name file and field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.tables import load_json, warn_notes
from limbeck.tables.records import whole_text

_WORDS: dict[type, str] = {str: "a text", int: "a whole number", list: "a list"}


# An escape of a surrogate; most occur in pairs, which make one character.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str, where: str, hook: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    """Return the object of a JSON text; errors contain ``where``, ``hook`` gets each inner object.

    Halves of surrogate pairs become U+FFFD, which a warning counts.

    Raises:
        LimbeckError: the text is not JSON, or not an object.
    """
    content = load_json(text, where, hook)
    if _HALF.search(text):
        content, count = whole_text(content)
        if count:
            warn_notes([f"{where}: {count:,} texts contain half a surrogate pair; it became U+FFFD"])
    if not isinstance(content, dict):
        raise LimbeckError(
            f"{where}: contains a {type(content).__name__}, not an object with named fields",
            code="E-IMPORT-LAYOUT",
        )
    return content


def entries(
    content: dict[str, Any], key: str, needed: Mapping[str, type], where: str, layout: str
) -> list[dict[str, Any]]:
    """Return the list of objects under ``key``, each with the fields ``needed`` and their types.

    An error contains ``where``, the file, and ``layout``, what is expected.

    Raises:
        LimbeckError: there is no such list, an entry lacks a field, or a value has another type.
    """
    items = content.get(key)
    if not isinstance(items, list):
        there = ", ".join(map(repr, list(content)[:6])) or "nothing"
        raise LimbeckError(
            f"{where}: has no list {key!r}, but {there}; the layout must be {layout}", code="E-IMPORT-LAYOUT"
        )
    for number, item in enumerate(items):
        for name, kind in needed.items():
            if not isinstance(item, dict) or name not in item:
                raise LimbeckError(
                    f"{where}: {key}[{number}] has no {name!r}; the layout must be {layout}",
                    code="E-IMPORT-LAYOUT",
                )
            if not isinstance(item[name], kind):
                what = f"{name} of {key}[{number}] is {str(item[name])[:40]!r}"
                raise LimbeckError(
                    f"{where}: {what}, not {_WORDS[kind]}; the layout must be {layout}",
                    code="E-IMPORT-LAYOUT",
                )
    return items
