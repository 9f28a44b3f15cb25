"""Handle binary hash codes with numpy and numba: packing, Hamming distances, iterative quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limbeck.codes.packing import check_codes, pack_bits, sign_codes, unpack_bits
from limbeck.codes.quantization import ITQ, itq

if TYPE_CHECKING:
    from limbeck.codes.distances import hamming_distances

__all__ = ["ITQ", "check_codes", "hamming_distances", "itq", "pack_bits", "sign_codes", "unpack_bits"]


def __getattr__(name: str) -> Any:
    if name == "hamming_distances":  # with numba, which is slow to import
        from limbeck.codes.distances import hamming_distances

        return hamming_distances
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
