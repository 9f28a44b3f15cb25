"""Show the finished models: searches, traversals to the root, radii and disks, colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.demo.colours import colour_classes
from limbeck.demo.geometry import Places, places_of
from limbeck.demo.messages import HYPERBOLIC_INDEX, INDEX, PICTURE, SODA
from limbeck.demo.searches import example_searches
from limbeck.demo.traversals import example_ways
from limbeck.encoders.load import load
from limbeck.evaluation.classification import zero_shot
from limbeck.evaluation.encode import encode_pictures
from limbeck.reporting.report import SearchExample
from limbeck.reporting.traversal_view import Way
from limbeck.search import Index

HELD_BACK = 4  # test pictures that are not indexed, to ask with
WALKS = 2  # of them, from which every hyperbolic model goes to the root
HYPERBOLIC = "HMID-Net"  # the model whose index is built beside that of the codes


@dataclass(frozen=True)
class Shown:
    """The examples for the report.

    Attributes:
        searches: searches in the index of hash codes.
        ways: traversals from pictures to the root, in every hyperbolic space.
        places: label of a hyperbolic model → its radii and disk.
        colours: label → ``top1``, ``chance`` and ``tie`` of the colours of scenes with one figure.
    """

    searches: list[SearchExample]
    ways: list[Way]
    places: dict[str, Places]
    colours: dict[str, dict[str, float]]


def show(out: Path, pairs: Pairs, models: Mapping[str, Path]) -> Shown:
    """Build the two indexes of the demo and compute the examples of every model.

    Args:
        out: directory of the demo; the indexes and the query picture are written into it.
        pairs: the scenes.
        models: label → run, including `SODA` and `HYPERBOLIC`.
    """
    asked = resolve_splits(load_protocol("scenes/hashing"), pairs).query.rows
    held_back, indexed = asked[:HELD_BACK], asked[HELD_BACK:]
    train = pairs.split_rows("train")
    pairs.open_image(int(held_back[0])).save(out / PICTURE)
    index = Index.build(out / INDEX, pairs, model=models[SODA], rows=indexed)
    Index.build(out / HYPERBOLIC_INDEX, pairs, model=models[HYPERBOLIC], rows=indexed)
    classes = colour_classes(pairs, indexed)
    ways: list[Way] = []
    places, colours = {}, {}
    for label, run in models.items():
        model = load(run)
        pictures = encode_pictures(model, pairs, indexed)
        told = zero_shot(model, pictures, classes).metrics
        colours[label] = told["zero_shot"] | {"tie": told["hierarchy"]["tie"]}
        if model.space.has_cones:
            places[label] = places_of(model, pairs, indexed, pictures.points, train)
            ways += example_ways(label, model, pairs, held_back[:WALKS], indexed, pictures.points)
    return Shown(example_searches(index, pairs, held_back, indexed), ways, places, colours)
