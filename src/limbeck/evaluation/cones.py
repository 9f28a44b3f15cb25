"""Where pictures and texts lie in a space with entailment cones: matched pairs inside, radii by detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from limbeck.data.protocol import Protocol
from limbeck.evaluation.encode import Side, encode_texts
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.results import plain
from limbeck.pictures import normalize_text
from limbeck.spaces import Space

if TYPE_CHECKING:
    from limbeck.data.pairs import Pairs
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
    """Share of matched pairs inside the cone, mean radii, share of points at a bound of theirs.

    Args:
        space: one that has cones.
        images: points of the pictures, one a row.
        texts: points of the texts, any number a row, all of rows that ``images`` has.
        details: name of a level of detail → points of the texts of that level (`text_details`).
        bounded: ``image`` and ``text`` → bool (n,), the points at a bound of the radius
            (`DualEncoder.is_clipped`).

    Returns:
        Group ``cone``: ``inside``, the share of (text, its picture) with the picture in the text's cone, per
        text 1 or 0; ``capped_image`` and ``capped_text``, shares at a bound. Group ``radius``: mean distance
        from the root of the pictures (``image``), the texts (``text``), and the texts of each level
        (``text/NAME``), in the space's unit of length.
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
    model: DualEncoder,
    pairs: Pairs,
    protocol: Protocol,
    rows: np.ndarray,
    texts: Side,
    *,
    batch_size: int = 256,
) -> dict[str, np.ndarray]:
    """Points of texts by their detail: name of the level → (n, width).

    Args:
        model: encodes the texts that the protocol does not show.
        pairs: the data set.
        protocol: with ``detail: order`` all texts of a row count, by their place: ``detail-1`` is the first,
            the most detailed one. Otherwise the texts shown, by their number of words: ``words-5-8``.
        rows: the rows that ``texts`` was encoded from, in that order.
        texts: points of the texts shown.
        batch_size: texts in one forward pass.
    """
    if protocol.detail == "words":
        shown = [text for own in protocol.texts(pairs, rows) for text in own]
        return _by_level(texts.points, [_words_level(text) for text in shown])
    column = pairs.texts(protocol.text.column, rows)
    levels = [f"detail-{at}" for own in column for at, text in enumerate(own, start=1) if text.strip()]
    spoken = [[normalize_text(text) for text in own if text.strip()] for own in column]
    return _by_level(encode_texts(model, spoken, rows, batch_size=batch_size).points, levels)


def _words_level(text: str) -> str:
    count = len(text.split())
    first, last = next((first, last) for first, last in WORDS if last is None or count <= last)
    return f"words-{first}+" if last is None else f"words-{first}-{last}"


def _by_level(points: np.ndarray, levels: Sequence[str]) -> dict[str, np.ndarray]:
    """Points of each level that occurs, levels in ascending order of their first number."""
    own = np.array(levels)
    found = sorted(set(levels), key=lambda level: int(level.split("-")[1].rstrip("+")))
    return {level: points[own == level] for level in found}
