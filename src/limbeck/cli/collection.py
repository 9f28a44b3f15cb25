"""Open the SOURCE argument of ``limbeck index`` once, so that the files it skipped can be reported."""

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
    """Return an encoded set or a source to encode, and the rows (n,) of the protocol's split.

    The rows are None without a protocol. The split is ``database`` unless one is named.
    """
    from limbeck.encoding import open_source, split_rows
    from limbeck.index.encoded import Encoded, is_encoded

    if protocol is None and is_encoded(source):
        return Encoded.open(source), None
    opened = open_source(source)
    return opened, None if protocol is None else split_rows(opened, protocol, split or "database")
