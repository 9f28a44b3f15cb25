"""Ten example searches: six by text, four by pictures that are not in the index."""

from __future__ import annotations

from collections import Counter

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.reporting.report import SearchExample
from limbeck.search import Index

HITS = 6


def example_searches(
    index: Index, pairs: Pairs, held_back: np.ndarray, indexed: np.ndarray
) -> list[SearchExample]:
    """Search and mark what is right.

    A text's hit is right when the text is among the picture's captions, or when the picture's labels hold all
    label words of the text; a picture's hit when the two share a label (the protocol's relevance).
    """
    found = [_by_text(index, text) for text in _queries(pairs, indexed)]
    return found + [_by_picture(index, pairs, int(row)) for row in held_back]


def _queries(pairs: Pairs, rows: np.ndarray) -> list[str]:
    """Six captions at several levels of detail that hold for few, some and many of the indexed pictures."""
    captions = [pairs.captions[row] for row in rows.tolist()]
    chosen: list[str] = []
    for level in range(min(map(len, captions))):
        counts = Counter(texts[level] for texts in captions)
        wanted = 2 if level < 2 else 1
        ranked = sorted(counts, key=lambda text: (abs(counts[text] - 4 * (level + 1)), text))
        chosen += [text for text in ranked if text not in chosen][:wanted]
    return chosen[:6]


def _by_text(index: Index, text: str) -> SearchExample:
    hits = index.search(text, HITS)
    shown = [
        (index.picture(hit), hit.metadata["captions"][0], float(hit.score), text in hit.metadata["captions"])
        for hit in hits
    ]
    return SearchExample(text, "text", shown)


def _by_picture(index: Index, pairs: Pairs, row: int) -> SearchExample:
    picture = pairs.open_image(row)
    own = set(pairs.labels_text[row])
    shown = [
        (
            index.picture(hit),
            hit.metadata["captions"][0],
            float(hit.score),
            bool(own & set(hit.metadata["labels"])),
        )
        for hit in index.search(image=picture, k=HITS)
    ]
    return SearchExample(pairs.captions[row][0], "picture", shown, query_image=picture)
