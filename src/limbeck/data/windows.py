"""The check, before training starts, that pictures in Parquet can be read in the order that is asked for."""

from __future__ import annotations

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.pictures import file_of
from limbeck.pictures import shards as kept

_LOOKED_AT = 16  # files
_EDGES = 20  # row groups in part of a window: two per block (`limbeck.data.order`), and the next one


def check_window(pairs: Pairs, rows: np.ndarray, window: int | None, batch_size: int) -> None:
    """Refuse an order in which nearly every picture would cost the reading of a whole row group.

    A single picture of a Parquet file can only be read with its row group. So that each group is read once,
    those of a window must fit into memory (`limbeck.pictures.shards.GROUP_BYTES`). Tar files, folders and
    zips have no such limit: one read gets one picture, in any order and by any number of processes.

    Raises:
        LimbeckError: ``data.window`` is missing or too large for the row groups of these files.
    """
    if pairs.media is None or pairs.media[0] != "shards" or not len(rows):
        return
    root, images = pairs.media[1], pairs.table.column("image").take(rows).to_pylist()
    files = list(dict.fromkeys(root / file_of(image) for image in images if image is not None))
    if files[0].suffix != ".parquet" or sum(file.stat().st_size for file in files) <= kept.GROUP_BYTES:
        return
    tables = [kept.ParquetPictures(str(file)) for file in files[:_LOOKED_AT]]
    group = max(table.group_bytes for table in tables)
    each = sum(file.stat().st_size for file in files[:_LOOKED_AT]) / sum(table.starts[-1] for table in tables)
    most = int((kept.GROUP_BYTES - _EDGES * group) / (1.25 * each)) - 3 * batch_size
    if window is not None and window <= most:
        return
    what = f"row groups of up to {group / 2**20:,.0f} MiB, of which {kept.GROUP_BYTES >> 20:,} MiB are kept"
    advice = f"set data.window to at most {most:,}" if most >= 2 else "write smaller row groups, or tar files"
    raise LimbeckError(
        f"data.window: the pictures of {pairs.path} are in Parquet, in {what}; {advice}",
        code="E-CONFIG-VALUE",
    )
