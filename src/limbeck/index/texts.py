"""Collects the distinct texts of an items table: captions, tags, labels and class paths."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from limbeck.data.prompts import clean_class_name
from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.tables import read_list, warn_notes

_COLUMNS = ("captions", "tags", "labels", "class_path")
_NAMES = ("labels", "class_path")


def table_texts(table: pa.Table) -> list[str]:
    """Return the distinct texts of a table's text columns, with class names in plain words."""
    found: dict[str, None] = {}
    for column in _COLUMNS:
        if column not in table.column_names:
            continue
        values = table.column(column)
        if pa.types.is_list(values.type):
            values = pc.list_flatten(values)
        if not pa.types.is_string(values.type):
            continue
        for text in pc.unique(values.drop_null()).to_pylist():
            text = clean_class_name(text) if column in _NAMES else text
            if text.strip():
                found.setdefault(text)
    return list(found)


def stored_texts(store: IndexStore) -> list[str]:
    """Return the distinct texts of all items of an index.

    Raises:
        LimbeckError: the items have no captions, tags, labels or class paths.
    """
    texts = [text for segment in store.segments for text in table_texts(segment.live_items())]
    if not texts:
        raise LimbeckError(
            f"{store.path}: has no captions, tags, labels or class paths; give --texts FILE or --data PAIRS",
            code="E-DATA-TEXT",
        )
    return list(dict.fromkeys(texts))


def read_texts(path: Path | str) -> list[str]:
    """Read the distinct texts of a file, one per line (`limbeck.tables.read_list`), without empty lines.

    Raises:
        LimbeckError: there is no such file, it is not text, or it is empty.
    """
    found = read_list(path)
    warn_notes(found.notes)
    texts = list(dict.fromkeys(text for line in found.entries if (text := line.strip())))
    if not texts:
        raise LimbeckError(f"{path}: is empty; give one text per line", code="E-FILE-EMPTY")
    return texts
