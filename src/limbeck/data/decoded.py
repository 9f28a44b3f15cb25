"""The pictures of a batch, opened and preprocessed one by one, in threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from limbeck.encoders.backbone import Inputs
from limbeck.pictures import PIXEL_BUDGET

if TYPE_CHECKING:
    from limbeck.data.batches import InputReader

Opened = dict[int | None, Image.Image]
"""A picture by the size for which it was decoded."""


def decoded(
    readers: Sequence[InputReader],
    positions: np.ndarray,
    draws: Sequence[int] | None,
    pool: Executor | None = None,
) -> list[Inputs]:
    """Return the tensors of each reader at some positions (B,).

    A picture is opened once for all readers of one size, such as student and teacher. The threads of ``pool``
    write rows into the batch, so that nothing is copied.
    """

    def read(at: int) -> list[Inputs]:
        opened: Opened = {}
        with PIXEL_BUDGET.keep():
            draw = None if draws is None else draws[at]
            return [reader.one(int(positions[at]), draw, opened) for reader in readers]

    if not readers:
        return []
    first, count = read(0), len(positions)
    whole = [{name: x.new_empty((count, *x.shape[1:])) for name, x in own.items()} for own in first]

    def write(at: int) -> None:
        for batch, own in zip(whole, first if at == 0 else read(at), strict=True):
            for name, row in own.items():
                batch[name][at] = row[0]

    for _ in (map if pool is None else pool.map)(write, range(count)):
        pass
    return whole
