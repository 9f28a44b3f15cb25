"""Score a space with entailment cones: matched pairs inside the cone, and mean radii by level of detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from limbeck.data.resolved_splits import ResolvedSplits
from limbeck.evaluation.encode import Side, encode_texts
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.results import plain
from limbeck.pictures import normalize_text
from limbeck.spaces import Space

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder

# First and last number of words of a bin; the last bin is open.
WORDS = ((1, 4), (5, 8), (9, 12), (13, 16), (17, None))


def score_cones(
    space: Space,
    images: Side,
    texts: Side,
    details: Mapping[str, np.ndarray],
    bounded: Mapping[str, np.ndarray],
) -> Scores:
    """Score the share of matched pairs inside the cone, the mean radii, and the share at a radius bound.

    Source: the entailment cones of MERU; the shares and the radii by detail are ours.

    Args:
        space: a space that has cones.
        images: embeddings of the pictures, one per row.
        texts: embeddings of the texts, any number per row; ``images`` must have all their rows.
        details: level of detail → embeddings of the texts of that level (`text_details`).
        bounded: ``image`` and ``text`` → bool (n,), true for embeddings at a bound of the lift's
            radius (`DualEncoder.is_clipped`).

    Returns:
        Group ``cone``: ``inside`` is the share of (text, its picture) pairs with the picture in the text's
        cone, per text 1 or 0; ``capped_image`` and ``capped_text`` are the shares at a bound. Group
        ``radius``: the mean distance from the root of the pictures (``image``), of the texts (``text``) and
        of the texts of each level (``text/NAME``), in the space's unit of length.
    """
    order = np.argsort(images.rows, kind="stable")
    partner = order[np.searchsorted(images.rows[order], texts.rows)]
    inside = space.entails(texts.points, images.points[partner])
    radii = {"image": images.points, "text": texts.points}
    radii |= {f"text/{name}": points for name, points in details.items()}
    scores = Scores()
    scores.metrics["cone"] = {"inside": float(inside.mean())} | {
        f"capped_{side}": float(is_clipped.mean()) for side, is_clipped in bounded.items()
    }
    scores.per_query["cone"] = plain(inside)
    scores.metrics["radius"] = {name: float(space.radius(points).mean()) for name, points in radii.items()}
    return scores


def text_details(
    model: DualEncoder, splits: ResolvedSplits, texts: Side, *, batch_size: int = 256
) -> dict[str, np.ndarray]:
    """Return the embeddings of the texts of the queries by level of detail: name of the level → (n, width).

    Args:
        model: encodes the texts that the protocol does not use.
        splits: if the protocol has ``detail: order``, all texts of a query count and their position is the
            level: ``detail-1`` is the first and most detailed text. Otherwise the texts of the protocol are
            grouped by their number of words: ``words-5-8``.
        texts: embeddings of the texts of the protocol, in the order of the queries.
        batch_size: texts per forward pass.
    """
    query = splits.query
    if splits.protocol.detail == "words":
        shown = [text for row_texts in query.texts for text in row_texts]
        return _by_level(texts.points, [_words_level(text) for text in shown])
    column = splits.pairs.texts(query.text.column, query.rows)
    levels = [f"detail-{at}" for row in column for at, text in enumerate(row, start=1) if text.strip()]
    row_texts = [[normalize_text(text) for text in row if text.strip()] for row in column]
    return _by_level(encode_texts(model, row_texts, query.rows, batch_size=batch_size).points, levels)


def _words_level(text: str) -> str:
    count = len(text.split())
    first, last = next((first, last) for first, last in WORDS if last is None or count <= last)
    return f"words-{first}+" if last is None else f"words-{first}-{last}"


def _by_level(points: np.ndarray, levels: Sequence[str]) -> dict[str, np.ndarray]:
    """Group points by level, in ascending order of the first number in the level's name."""
    level_of = np.array(levels)
    ordered = sorted(set(levels), key=lambda level: int(level.split("-")[1].rstrip("+")))
    return {level: points[level_of == level] for level in ordered}
