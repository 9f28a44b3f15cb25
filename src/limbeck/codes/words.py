"""Define the popcount kernels that all Hamming code uses, over codes viewed as words (`packing.as_words`).

Numba's cache checks only the file of a kernel. After an edit here, delete the ``__pycache__`` folders;
otherwise kernels in other files still call the old versions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numba.extending import intrinsic

from limbeck.codes.kernel import kernel

if TYPE_CHECKING:
    from llvmlite.ir import Instruction, IRBuilder, Value
    from numba.core.types import Integer
    from numba.core.typing.templates import Signature


def _popcount(_typing_context: object, x: Integer) -> tuple[Signature, Callable[..., Instruction]]:
    """Count the set bits of an unsigned integer in one instruction (numba has no ``np.bitwise_count``)."""

    def generate(
        _context: object, builder: IRBuilder, _signature: object, arguments: Sequence[Value]
    ) -> Instruction:
        return builder.ctpop(arguments[0])

    return x(x), generate


popcount = cast("Callable[..., int]", intrinsic(_popcount))


@kernel
def fill_distances(items: np.ndarray, query: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """Write the distances of one query (W,) to items (n, W) to ``out`` (n,).

    Pass ``items`` as a view that begins at its first row: with an index range numba does not vectorise the
    loop. Lengths of one and two words have separate loops, because an inner loop over words prevents it, too.
    """
    flat = items.reshape(items.size)
    if query.shape[0] == 1:
        only = query[0]
        for i in range(flat.shape[0]):
            out[i] = popcount(flat[i] ^ only)
    elif query.shape[0] == 2:
        first, second = query[0], query[1]
        for i in range(flat.shape[0] // 2):
            out[i] = popcount(flat[2 * i] ^ first) + popcount(flat[2 * i + 1] ^ second)
    else:
        for i in range(items.shape[0]):
            distance = np.uint64(0)
            for word in range(query.shape[0]):
                distance += popcount(items[i, word] ^ query[word])
            out[i] = distance
