"""Reads codes or vectors of other programs: a ``.npy`` file and a text file with one id per line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from limbeck.codes.arrays import as_codes_or_vectors
from limbeck.errors import LimbeckError
from limbeck.index.arrays import open_npy
from limbeck.tables import read_list, warn_notes


def read_ids(path: Path) -> list[str]:
    """Read one id per line (`limbeck.tables.read_list`); leading and trailing blanks belong to the id.

    Raises:
        LimbeckError: there is no such file, it is not text, a line is empty, or an id occurs twice.
    """
    found = read_list(path)
    warn_notes(found.notes)
    ids = found.lines
    seen: dict[str, int] = {}
    for number, item_id in enumerate(ids, start=1):
        if not item_id.strip():
            raise LimbeckError(f"{path}: line {number} is empty; give one id per line", code="E-ID-FORM")
        if item_id in seen:
            raise LimbeckError(
                f"{path}: id {item_id!r} is in lines {seen[item_id]} and {number}; make ids unique",
                code="E-ID-REPEATED",
            )
        seen[item_id] = number
    return ids


def read_codes_and_ids(codes: Path, ids: Path) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Read points (N, width), memory-mapped if possible, and their items ``{"id": [...]}``.

    Codes may be packed bytes, booleans, or −1 and +1 (`limbeck.codes.arrays`); other floats are vectors.

    Raises:
        LimbeckError: a file is unreadable, the array is pickled or not a matrix, or the number of ids is not
            the number of rows.
    """
    points, names = as_codes_or_vectors(open_npy(codes), f"{codes}: the array"), read_ids(ids)
    if len(points) != len(names):
        raise LimbeckError(
            f"{ids}: {len(names)} ids, but {codes} has {len(points)} rows; give one per row",
            code="E-ARRAY-ROWS",
        )
    return points, {"id": names}
