"""Handle binary hash codes with numpy and numba: packing, Hamming distances, iterative quantization."""

from __future__ import annotations

from limbeck.codes.distances import hamming_distances
from limbeck.codes.packing import check_codes, pack_bits, sign_codes, unpack_bits
from limbeck.codes.quantization import ITQ, itq

__all__ = ["ITQ", "check_codes", "hamming_distances", "itq", "pack_bits", "sign_codes", "unpack_bits"]
