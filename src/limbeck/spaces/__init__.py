"""Define the embedding spaces (numpy only): the stored form of an embedding and its similarity.

A space is a small frozen object with the methods of `Space`. Code that stores, searches or scores embeddings
calls these methods and does not test which space it has. To add a space, add one file here and one entry in
`registry`.
"""

from __future__ import annotations

from limbeck.spaces.base import Space
from limbeck.spaces.euclid import Euclid
from limbeck.spaces.hamming import MAX_BITS, Hamming, prefix_space
from limbeck.spaces.kept import Kept
from limbeck.spaces.lorentz import Lorentz
from limbeck.spaces.lorentz_angle import LorentzAngle
from limbeck.spaces.registry import space_from_json
from limbeck.spaces.sphere import Sphere

__all__ = [
    "MAX_BITS",
    "Euclid",
    "Hamming",
    "Kept",
    "Lorentz",
    "LorentzAngle",
    "Space",
    "Sphere",
    "from_json",
    "prefix_space",
    "space_from_json",
]

from_json = space_from_json
