"""The SOURCE argument of ``limbeck index``: opened once, so that what it passed over can be told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from limbeck.encoding import Source
    from limbeck.index.encoded import Encoded


def open_collection(
    source: Path, protocol: str | None, split: str | None
) -> tuple[Encoded | Source, np.ndarray | None]:
    """An encoded set, or what is to be encoded; with the rows (n,) of a protocol's split, if one is given."""
    from limbeck.encoding import open_source, split_rows
    from limbeck.index.encoded import Encoded, is_encoded

    if protocol is None and is_encoded(source):
        return Encoded.open(source), None
    opened = open_source(source)
    return opened, None if protocol is None else split_rows(opened, protocol, split or "database")
