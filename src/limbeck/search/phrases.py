"""Short everyday queries, to calibrate an index whose items have no texts (ours)."""

from __future__ import annotations

_THINGS = (
    "dog", "cat", "horse", "bird", "cow", "flower", "tree", "car", "bicycle", "boat", "train", "house",
    "bridge", "church", "man", "woman", "child", "baby", "group of people", "crowd", "chair", "table", "cup",
    "plate of food", "cake", "book", "phone", "guitar", "ball", "statue",
)  # fmt: skip
_PLACES = ("beach", "street", "mountain", "forest", "river", "field", "city", "garden", "kitchen", "snow")
_KINDS = ("red", "blue", "black and white", "old", "small", "bright")
_SCENES = (
    "sunset over the sea", "clouds in the sky", "people playing football", "a concert at night", "a market",
    "a birthday party", "a portrait of a woman", "an empty road", "a close-up of an insect",
    "reflections in the water",
)  # fmt: skip

PHRASES = (
    *_SCENES,
    *(f"a {thing}" for thing in _THINGS),
    *(f"a {kind} {thing}" for kind in _KINDS for thing in _THINGS[::3]),
    *(f"a {thing} and a {place}" for thing in _THINGS[:10] for place in _PLACES[::2]),
    *(f"the {place} in winter" for place in _PLACES),
)
