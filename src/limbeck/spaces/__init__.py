"""The spaces that points live in, numpy only: what a stored point is and what "near" means.

A space is a small frozen object with the verbs of `Space`. Code that stores, searches or scores points asks
the space, never *which* space it is. A further space is one more file here and one entry in `registry`.
"""

from __future__ import annotations

from limbeck.spaces.base import Space
from limbeck.spaces.euclid import Euclid
from limbeck.spaces.hamming import MAX_BITS, Hamming
from limbeck.spaces.kept import Kept
from limbeck.spaces.lorentz import Lorentz
from limbeck.spaces.registry import space_from_json
from limbeck.spaces.sphere import Sphere

__all__ = [
    "MAX_BITS",
    "Euclid",
    "Hamming",
    "Kept",
    "Lorentz",
    "Space",
    "Sphere",
    "from_json",
    "space_from_json",
]

from_json = space_from_json
