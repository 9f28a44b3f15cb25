"""Codes or vectors from elsewhere: a ``.npy`` file, with ids one a line in a text file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from limbeck.codes.arrays import as_codes_or_vectors
from limbeck.errors import LimbeckError
from limbeck.index.arrays import open_npy
from limbeck.tables import read_list, warn_notes


def read_ids(path: Path) -> list[str]:
    """Ids, one per line (`limbeck.tables.read_list`); blanks at the ends of a line belong to the id.

    Raises:
        LimbeckError: no such file, not text, an empty line, an id that stands there twice.
    """
    found = read_list(path)
    warn_notes(found.notes)
    ids = found.lines
    seen: dict[str, int] = {}
    for number, item_id in enumerate(ids, start=1):
        if not item_id.strip():
            raise LimbeckError(f"{path}: line {number} is empty; give one id a line")
        if item_id in seen:
            raise LimbeckError(
                f"{path}: id {item_id!r} stands in lines {seen[item_id]} and {number}; make ids unique"
            )
        seen[item_id] = number
    return ids


def read_codes_and_ids(codes: Path, ids: Path) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Points (N, width), memory-mapped, and the items ``{"id": [...]}`` that belong to them.

    Codes may be packed, booleans, or −1 and +1 (`limbeck.codes.arrays`); other floats are vectors.

    Raises:
        LimbeckError: an unreadable file, a pickle, no matrix, or another number of ids than rows.
    """
    points, names = as_codes_or_vectors(open_npy(codes), f"{codes}: the array"), read_ids(ids)
    if len(points) != len(names):
        raise LimbeckError(f"{ids}: {len(names)} ids, but {codes} has {len(points)} rows; give one id a row")
    return points, {"id": names}
