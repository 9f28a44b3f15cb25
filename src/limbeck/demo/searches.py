"""Run ten example searches: six by text, four by pictures that are not in the index."""

from __future__ import annotations

from collections import Counter

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.reporting.report import SearchExample
from limbeck.search import Index

HITS = 10


def example_searches(
    index: Index, pairs: Pairs, held_back: np.ndarray, indexed: np.ndarray
) -> list[SearchExample]:
    """Search and mark the relevant hits.

    A hit of a text query is relevant if its labels include every label word of the text. A hit of a picture
    query is relevant if the two pictures share a label (the relevance of the protocol).
    """
    found = [_by_text(index, pairs, text) for text in _queries(pairs, indexed)]
    return found + [_by_picture(index, pairs, int(row)) for row in held_back]


def _queries(pairs: Pairs, rows: np.ndarray) -> list[str]:
    """Return six short captions of one figure ("a red cross on paper"), the most frequent ones."""
    single = [pairs.captions[row] for row in rows.tolist() if pairs.captions[row][-1].startswith("one ")]
    chosen: list[str] = []
    for level in (1, 2):
        counts = Counter(texts[level] for texts in single)
        chosen += sorted(counts, key=lambda text: (-counts[text], text))[:3]
    return chosen


def _by_text(index: Index, pairs: Pairs, text: str) -> SearchExample:
    wanted = {name for name in pairs.label_names if name in text.split()}
    shown = []
    for hit in index.search(text, HITS):
        right = wanted <= set(hit.metadata["labels"])
        shown.append((index.picture(hit), hit.metadata["captions"][0], float(hit.score), right))
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
