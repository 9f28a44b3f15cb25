"""Show traversals from a picture to the root of a hyperbolic space in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limbeck.reporting.pictures import thumbnail
from limbeck.traversal import ROOT
from limbeck.typed import Json

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Station:
    """A text on the path, its distance from the root, and its nearest pictures, nearest first."""

    text: str
    radius: float
    pictures: Sequence[Image.Image] = ()


@dataclass(frozen=True)
class Way:
    """A traversal from a picture to the root.

    Attributes:
        radius: distance of the picture from the root.
        entailing: number of candidate texts that entail the picture, of ``texts`` in all.
        entailed: whether texts that do not entail the point were skipped.
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


def shown_way(way: Way) -> dict[str, Json]:
    """Return the values for the page's template; ``share`` is the distance relative to the farthest point."""
    farthest = max(way.radius, *(station.radius for station in way.stations), 1e-9)
    return {
        "src": thumbnail(way.picture),
        "caption": way.caption,
        "model": way.model,
        "radius": f"{way.radius:.2f}",
        "share": way.radius / farthest,
        "entailing": f"{way.entailing:,} of {way.texts:,} texts entail it"
        + ("" if way.entailed else "; the nearest texts are shown, entailing or not"),
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
