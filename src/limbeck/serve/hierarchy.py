"""Answers about the hierarchy of a space with cones: the way from a query to the root, and the disk."""

from __future__ import annotations

import numpy as np

from limbeck.index.query import SearchOptions
from limbeck.search import Term
from limbeck.serve.answering import Opened
from limbeck.serve.disk import on_disk
from limbeck.traversal import Traversal, require_cones
from limbeck.typed import Json


def traversal(opened: Opened, term: Term, steps: int) -> dict[str, object]:
    """Return the traversal from a text or an item to the root, as JSON.

    Raises:
        LimbeckError: the space has no cones, the items have no texts, or the query cannot be encoded.
    """
    index = opened.index
    require_cones(index.space)
    texts, places = opened.texts.encoded
    point = index.encode_terms([term])[0]
    found = Traversal.of(index.space, point, places, texts, steps=steps)
    return {"index": opened.name, "generation": opened.generation, **found.to_json()}


def disk(opened: Opened, term: Term, k: int, texts: int) -> dict[str, object]:
    """Return root, query, nearest items and nearest texts on a Poincaré disk, as JSON.

    Raises:
        LimbeckError: as `traversal`.
    """
    index, space = opened.index, opened.index.space
    require_cones(space)
    words, places = opened.texts.encoded
    query = index.encode_terms([term])[0]
    rows = index.engines.find(query, SearchOptions(k, exclude=index.excluded([[term]])))[0][1]
    near = np.argsort(-space.similarity(query, places)[0], kind="stable")[:texts]
    items = index.store.points_at(rows)
    hits = opened.items(rows)
    shown: list[dict[str, object]] = [{"kind": "query", "text" if term.id is None else "id": term.value}]
    shown += [{"kind": "item", "id": hit["id"], "thumbnail": hit["thumbnail"]} for hit in hits]
    shown += [{"kind": "text", "text": words[at]} for at in near]
    points = np.concatenate([query, items, places[near]])
    kinds = [
        "text" if one["kind"] == "text" or (one["kind"] == "query" and term.id is None) else "item"
        for one in shown
    ]
    spots, radii = on_disk(space, points, kinds), space.radius(points)
    general, specific = space.entails(points, query), space.entails(query, points)
    root: dict[str, Json] = {
        "kind": "root",
        "x": 0.0,
        "y": 0.0,
        "radius": 0.0,
        "entails": True,
        "entailed": False,
    }
    return {
        "index": opened.name,
        "generation": opened.generation,
        "curv": float(space.to_json()["curv"]),
        "points": [
            root,
            *(
                one
                | {"x": float(x), "y": float(y), "radius": float(radius)}
                | {"entails": bool(above), "entailed": bool(below)}
                for one, (x, y), radius, above, below in zip(
                    shown, spots, radii, general, specific, strict=True
                )
            ),
        ],
    }
