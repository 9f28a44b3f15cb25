"""Goes from a query of an index to the root, through the texts of its items (`limbeck.traversal`)."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.index.store import IndexStore
from limbeck.index.texts import stored_texts  # with pyarrow.compute, which is slow to import
from limbeck.search.queries import QueryEncoder, Term
from limbeck.traversal import Traversal, check_steps, require_cones, split_known


def traverse_from(
    store: IndexStore,
    queries: QueryEncoder,
    start: Term,
    texts: Sequence[str] | None,
    steps: int,
    entailed: bool,
) -> Traversal:
    """Return the nearest texts on the way from a term to the root; see `limbeck.Index.traverse`."""
    require_cones(store.space)
    check_steps(steps)
    names = list(dict.fromkeys(stored_texts(store) if texts is None else texts))
    point, _ = queries.encode_queries([[start]])
    encoder = queries.reading("text")
    known, unknown = split_known(names, encoder.check_query)
    places = encoder.encode("text", known, "points")[0]
    return Traversal.of(store.space, point, places, known, steps=steps, entailed=entailed, unknown=unknown)
