"""Lists in the cells of a table: JSON lists, lists printed by Python and NumPy, separated texts."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

# What Python, pandas and SQL write for missing values, without NA, which is also a country code.
_NONE = frozenset({"nan", "NaN", "None", "null", "NULL", "<NA>", "set()", "frozenset()", "[]", "()", "{}"})
_NAMES_OF_NONE = _NONE - {"set()", "frozenset()", "[]", "()", "{}"}
_WRAPPER = re.compile(r"(?:array|set|frozenset)\((.*?)(?:,\s*dtype=[^\[\]]*)?\)", re.DOTALL)
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_SCALAR = rf"np\.\w+\((?P<scalar>{_QUOTED}|[^()'\"]*)\)"  # np.str_('cat'), as NumPy 2 prints in a list
_ITEM = re.compile(
    rf"\s*(?:{_SCALAR}|(?P<quoted>{_QUOTED})|(?P<bare>[^,'\"\[\]{{}}]*[^,'\"\[\]{{}}\s]))\s*", re.DOTALL
)
_SPACED = re.compile(rf"(?:\s*(?:{_QUOTED})\s*)+", re.DOTALL)
_NUMBERS = re.compile(r"\s*-?[0-9.]+(?:\s+-?[0-9.]+)+\s*")
_OTHERS = (";", "|")  # other common separators, for a note where none is named


@dataclass(frozen=True)
class CellLists:
    """The texts of each row's cell, and notes for the user. Rows with equal cells share one list."""

    rows: list[list[str]]
    notes: tuple[str, ...]


def cell_lists(
    column: pa.ChunkedArray,
    where: str,
    *,
    separator: str | None,
    split: bool = True,
    clean: Callable[[str], str] = str.strip,
    repeats: bool = False,
) -> CellLists:
    """Return the texts of every cell of a text or list column; a missing cell has none.

    A cell is read as a list if it is a JSON list, or a list, tuple, set or array as Python or NumPy print it.
    Any other cell is split at the separator; with ``split`` false (captions) it stays one text. ``nan``,
    ``None`` and ``null`` count as empty, and a note reports them.

    Args:
        column: text or lists of text; other types are converted to text.
        where: file and column, for notes.
        separator: between items; ``,`` where it is None, with a note if cells seem to use another one.
        split: whether cells are split, and unquoted items count as lists.
        clean: normalises each text; empty results are dropped.
        repeats: whether a text that a cell repeats is kept twice.
    """
    kind = column.type
    if pa.types.is_list(kind):
        items = column.cast(pa.list_(pa.string()))
        return CellLists([_clean(own or (), clean, repeats) for own in items.to_pylist()], ())
    if not pa.types.is_string(kind):
        column = column.cast(pa.string())
    cells = pc.dictionary_encode(column).combine_chunks()
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.chunk(0)
    mark = separator or ","
    parsed: list[list[str]] = []
    forms: list[str] = []
    texts: list[str] = cells.dictionary.to_pylist()
    for text in texts:
        items, form = parse_cell(text, mark, split)
        parsed.append(_clean(items, clean, repeats))
        forms.append(form)
    counts = pc.value_counts(cells.indices.drop_null()).to_pylist()
    times = {entry["values"]: entry["counts"] for entry in counts}
    nothing: list[str] = []
    rows = [nothing if at is None else parsed[at] for at in cells.indices.to_pylist()]
    cells_of = Counter[str]()
    for at, form in enumerate(forms):
        cells_of[form] += times.get(at, 0)
    notes = []
    if cells_of["none"]:
        shown = ", ".join(
            sorted({repr(text.strip()) for text, form in zip(texts, forms, strict=True) if form == "none"})[
                :3
            ]
        )
        notes.append(f"{where}: {cells_of['none']:,} cells contain {shown} and count as empty")
    if cells_of["printed"]:
        notes.append(
            f"{where}: {cells_of['printed']:,} cells are lists printed by Python and were read as lists"
        )
    if cells_of["unread"]:
        first = next(text for text, form in zip(texts, forms, strict=True) if form == "unread")
        what = f"begin and end like lists, but are none that can be read, and were split at {mark!r}"
        notes.append(f"{where}: {cells_of['unread']:,} cells {what} (first: {first.strip()[:60]!r})")
    if split and separator is None:
        notes += _other_separator(texts, forms, times, where)
    return CellLists(rows, tuple(notes))


def _clean(items: Iterable[str | None], clean: Callable[[str], str], repeats: bool) -> list[str]:
    texts = [text for item in items if item is not None and (text := clean(item))]
    return texts if repeats or len(texts) < 2 else list(dict.fromkeys(texts))


def parse_cell(text: str, separator: str, split: bool = True) -> tuple[list[str], str]:
    """Return the texts of a cell and its form: "text", "json", "printed", "unread", "none" or "empty".

    "unread" begins and ends like a list but cannot be read as one; it is split as text. See `cell_lists`.
    """
    stripped = text.strip()
    if not stripped:
        return [], "empty"
    if stripped in _NONE:
        return [], "none" if stripped in _NAMES_OF_NONE else "empty"
    if stripped[0] in "[({asf" and stripped[-1] in "])}":
        if stripped[0] == "[":
            found = _json_list(stripped)
            if found is not None:
                return found, "json"
        found = _printed_list(stripped, split)
        if found is not None:
            return found, "printed"
        if split and stripped[0] in "[{" and separator in stripped:
            return [item for part in text.split(separator) if (item := part.strip())], "unread"
    if not split:
        return [text], "text"
    return [item for part in text.split(separator) if (item := part.strip())], "text"


def _json_list(text: str) -> list[str] | None:
    """Return the items of a JSON list of plain values; None for anything else."""
    try:
        value = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or any(isinstance(item, list | dict) for item in value):
        return None
    return [item if isinstance(item, str) else json.dumps(item) for item in value if item is not None]


def _printed_list(text: str, bare: bool) -> list[str] | None:
    """Return the items of a list, tuple, set or array printed by Python or NumPy; None for anything else."""
    wrapped = _WRAPPER.fullmatch(text)
    inner = wrapped[1].strip() if wrapped else text
    if not inner or inner[0] not in _BRACKETS or inner[-1] != _BRACKETS[inner[0]]:
        return None
    if not bare and inner[0] != "[":
        return None
    body = inner[1:-1]
    if not body.strip():
        return []
    if _SPACED.fullmatch(body):  # NumPy prints no commas
        return [str(ast.literal_eval(match)) for match in re.findall(_QUOTED, body, re.DOTALL)]
    if bare and inner[0] == "[" and _NUMBERS.fullmatch(body):
        return body.split()
    items, at, quoted = [], 0, 0
    while at < len(body):
        match = _ITEM.match(body, at)
        if match is None:
            return None
        at = match.end()
        if at < len(body) and body[at] != ",":
            return None
        at += 1
        value = match["scalar"] or match["quoted"]
        quoted += value is not None
        items.append(_literal(value) if value else (match["bare"] or "").strip())
    # (c) and {x} are words in brackets; only [a, b] counts as a list without quotes.
    if inner[0] == "(" and len(items) == 1 and not body.rstrip().endswith(","):
        return None
    if quoted == len(items) or (bare and inner[0] == "["):
        return [item for item in items if item not in _NAMES_OF_NONE]
    return None


def _literal(quoted: str) -> str:
    if quoted[0] not in "'\"":
        return quoted
    try:
        return str(ast.literal_eval(quoted))
    except (ValueError, SyntaxError):
        return quoted[1:-1]


def _other_separator(texts: list[str], forms: list[str], times: dict[int, int], where: str) -> list[str]:
    """Return a note if more cells contain another common separator than contain a comma."""
    plain = [(at, text) for at, (text, form) in enumerate(zip(texts, forms, strict=True)) if form == "text"]
    commas = sum(times.get(at, 0) for at, text in plain if "," in text)
    for mark in _OTHERS:
        count = sum(times.get(at, 0) for at, text in plain if mark in text)
        if count > commas:
            total = sum(times.get(at, 0) for at, _ in plain)
            fix = f"if it separates items, use --separator '{mark}'"
            return [f"{where}: {count:,} of {total:,} cells contain {mark!r} and were not split; {fix}"]
    return []
