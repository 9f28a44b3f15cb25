"""Ways from a picture to the root of a hyperbolic space, as a page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.reporting.pictures import thumbnail
from limbeck.traversal import ROOT

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Station:
    """A text on the way, its distance from the root, and the pictures that it finds, nearest first."""

    text: str
    radius: float
    pictures: Sequence[Image.Image] = ()


@dataclass(frozen=True)
class Way:
    """From a picture to the root.

    Attributes:
        picture: where it starts.
        caption: its own.
        model: in whose space it goes.
        radius: its distance from the root.
        entailing: how many of the ``texts`` candidates entail it.
        entailed: whether texts that do not entail the step were passed over.
        stations: see `limbeck.traversal.Traversal.chain`; the last one is the root.
    """

    picture: Image.Image
    caption: str
    model: str
    radius: float
    entailing: int
    texts: int
    entailed: bool
    stations: Sequence[Station]


def shown_way(way: Way) -> dict[str, Any]:
    """For the page's template; ``share`` is the distance from the root as a share of the picture's."""
    farthest = max(way.radius, *(station.radius for station in way.stations), 1e-9)
    return {
        "src": thumbnail(way.picture),
        "caption": way.caption,
        "model": way.model,
        "radius": f"{way.radius:.2f}",
        "share": way.radius / farthest,
        "entailing": f"{way.entailing:,} of {way.texts:,} texts entail it"
        + ("" if way.entailed else ", so the nearest are named, entailing or not"),
        "stations": [
            {
                "text": "the root" if station.text == ROOT else station.text,
                "root": station.text == ROOT,
                "radius": f"{station.radius:.2f}",
                "share": station.radius / farthest,
                "pictures": [thumbnail(picture, side=64) for picture in station.pictures],
            }
            for station in way.stations
        ],
    }
