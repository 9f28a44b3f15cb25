"""Decides by the columns of the items whether a hit is right for a query that one of the items stands for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.data.prompts import clean_class_name

_WORD = re.compile(r"[^\W_]+")
Item = Mapping[str, Any]


class Relevance:
    """Judges hits by captions, else by labels, else by tags.

    * Captions: a hit is right for a caption if its texts share more than half of the caption's information,
      and for a picture if they do so for one of its captions. The information of a word is the negative
      logarithm of the share of items that have it, so words such as "a" count next to nothing.
    * Labels: a hit is right if it shares a label with the item that the query stands for.
    * Tags: as captions, with all tags of an item as one text.

    Attributes:
        basis: "captions", "labels" or "tags".
        right: what a hit has to be, in words.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        """Measure the information of words in a sample of the items."""
        shares = {name: np.mean([bool(item.get(name)) for item in items]) for name in _TEXTS}
        self.basis = next((name for name in _TEXTS if shares[name] >= 0.5), None)
        self.right = {
            "captions": "its texts share more than half of the information of the caption",
            "labels": "it shares a label with the item that the query stands for",
            "tags": "its texts share more than half of the information of the tags",
        }.get(self.basis or "", "")
        counts = Counter(word for item in items for word in words(item))
        self._information = {word: math.log(len(items) / count) for word, count in counts.items()}
        self._rare = math.log(len(items) + 1)

    def text(self, item: Item, rng: np.random.Generator) -> str | None:
        """Return a text that stands for an item: a caption, or its tags, or its labels, or None."""
        if self.basis == "captions":
            captions = item.get("captions") or []
            return captions[rng.integers(len(captions))] if captions else None
        if item.get("tags"):
            return " ".join(item["tags"])
        return " ".join(map(clean_class_name, item.get("labels") or [])) or None

    def judge(self, asked: Item, text: str | None, hits: Sequence[Item]) -> np.ndarray:
        """Return bool (n,): which hits are right.

        Args:
            asked: the item that the query stands for; it is right itself.
            text: the text of the query; None for a picture.
            hits: the items that were found.
        """
        if self.basis == "labels":
            labels = set(asked.get("labels") or [])
            return np.array([bool(labels.intersection(hit.get("labels") or [])) for hit in hits], bool)
        texts = [text] if text is not None else asked.get(str(self.basis)) or []
        if self.basis == "tags":
            texts = [" ".join(texts)]
        wanted = [_words(text) for text in texts]
        return np.array([hit["id"] == asked["id"] or self._agrees(wanted, words(hit)) for hit in hits], bool)

    def _agrees(self, wanted: Sequence[set[str]], found: set[str]) -> bool:
        """Return whether the words of an item share more than half of the information of one text."""
        for text in wanted:
            both = sum(self._information.get(word, self._rare) for word in text & found)
            if both > sum(self._information.get(word, self._rare) for word in text) / 2:
                return True
        return False


_TEXTS = ("captions", "labels", "tags")


def words(item: Item) -> set[str]:
    """Return the distinct words of an item's captions, labels and tags."""
    return {word for name in _TEXTS for text in item.get(name) or [] for word in _words(text)}


def _words(text: str) -> set[str]:
    """Return the distinct words of a text in lower case, without a plural s."""
    found = _WORD.findall(text.lower())
    return {word[:-1] if len(word) > 3 and word[-1] == "s" != word[-2] else word for word in found}
