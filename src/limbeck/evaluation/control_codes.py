"""Make control codes without a model: random codes (floor), or codes learnt from the labels (ceiling)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from limbeck.data.resolved_splits import ResolvedSplits
from limbeck.errors import LimbeckError
from limbeck.evaluation.ceiling import label_codes
from limbeck.evaluation.codes_file import CodesFile
from limbeck.evaluation.hashing import SIDES

_CONTROL = re.compile(r"(random|oracle):(\d+)")


def is_control(codes: Path | str) -> bool:
    """Return whether ``codes`` is ``random:BITS`` or ``oracle:BITS`` and no file has that name."""
    return _CONTROL.fullmatch(str(codes)) is not None and not Path(codes).exists()


def control_codes(codes: Path | str, splits: ResolvedSplits | None, *, seed: int = 0) -> CodesFile:
    """Make the hash codes of a control for the rows of a protocol (ours).

    Args:
        codes: ``random:BITS`` gives independent fair bits for every row and modality. ``oracle:BITS`` gives
            codes learnt from the labels (`limbeck.evaluation.ceiling.label_codes`); picture and text of a row
            share one code.
        splits: the query and database rows get codes.
        seed: seeds the random bits or the learning.

    Raises:
        LimbeckError: there is no data set or no protocol, or the number of bits is not a multiple of 8.
    """
    match = _CONTROL.fullmatch(str(codes))
    assert match is not None
    kind, bits = match[1], int(match[2])
    if bits < 8 or bits % 8:
        raise LimbeckError(
            f"{codes}: bits must be a multiple of 8; write for example {kind}:64", code="E-CODES-LENGTH"
        )
    if splits is None:
        raise LimbeckError(
            f"{codes}: control codes need a data set; give --data DIR and --protocol NAME",
            code="E-OPTION-MISSING",
        )
    names = sorted({name for direction in splits.protocol.directions for name in SIDES[direction]})
    if kind == "random":
        rng = np.random.default_rng(seed)
        made = {
            name: rng.integers(0, 256, (len(splits.parts[name.part]), bits // 8), dtype=np.uint8)
            for name in names
        }
    else:
        labels = np.concatenate([splits.query.labels, splits.database.labels])
        learnt = label_codes(labels, bits, seed=seed)
        query, database = np.split(learnt, [len(splits.query)])
        made = {name: query if name.part == "query" else database for name in names}
    return CodesFile(Path(str(codes)), made, {}, bits)
