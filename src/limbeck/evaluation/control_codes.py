"""Codes that no model made: at random, the floor of a table, or learnt from the labels, its ceiling."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.errors import LimbeckError
from limbeck.evaluation.ceiling import label_codes
from limbeck.evaluation.codes_file import CodesFile
from limbeck.evaluation.hashing import SIDES

_CONTROL = re.compile(r"(random|oracle):(\d+)")


def is_control(codes: Path | str) -> bool:
    """Whether it reads ``random:BITS`` or ``oracle:BITS`` and no such file is there."""
    return _CONTROL.fullmatch(str(codes)) is not None and not Path(codes).exists()


def control_codes(
    codes: Path | str, pairs: Pairs | None, protocol: Protocol | None, *, seed: int = 0
) -> CodesFile:
    """The codes of a control for the rows of a protocol.

    Args:
        codes: ``random:BITS``, independent fair bits for every row and modality, or ``oracle:BITS``, codes by
            `limbeck.evaluation.ceiling.label_codes`, one for picture and text of a row.
        pairs: the data set.
        protocol: whose query and database rows get codes.
        seed: of the draw, or of the learning.

    Raises:
        LimbeckError: no data set or protocol, or bits that are no multiple of 8.
    """
    match = _CONTROL.fullmatch(str(codes))
    assert match is not None
    kind, bits = match[1], int(match[2])
    if bits < 8 or bits % 8:
        raise LimbeckError(f"{codes}: bits must be a multiple of 8; write {kind}:64, say")
    if pairs is None or protocol is None:
        raise LimbeckError(f"{codes}: codes of a control need rows; give --data DIR and --protocol NAME")
    rows = {"query": protocol.split(pairs, "query"), "database": protocol.split(pairs, "database")}
    names = sorted({name for direction in protocol.directions for name in SIDES[direction]})
    if kind == "random":
        rng = np.random.default_rng(seed)
        made = {
            name: rng.integers(0, 256, (len(rows[name.partition("_")[0]]), bits // 8), dtype=np.uint8)
            for name in names
        }
    else:
        labels = np.concatenate([pairs.labels(part) for part in rows.values()])
        learnt = label_codes(labels, bits, seed=seed)
        of_split = dict(zip(rows, np.split(learnt, [len(rows["query"])]), strict=True))
        made = {name: of_split[name.partition("_")[0]] for name in names}
    return CodesFile(Path(str(codes)), made, {}, bits)
