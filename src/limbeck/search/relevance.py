"""Decides by the columns of the items whether a hit is right for a query that one of the items stands for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.data.prompts import clean_class_name

_LEAST, _MOST = math.log(3), math.log(50)  # information of the words of a query, in nats
_WORD = re.compile(r"[^\W_]+")
Item = Mapping[str, Any]


class Relevance:
    """Judges hits by captions, else by labels, else by tags.

    * Captions: a query is one or two words of a caption that at least 2 % and at most a third of the items
      have. A hit is right if its captions, labels and tags hold more than half of the information of them.
      The information of a word is the negative logarithm of the share of items that have it. A picture
      stands for the words that at least half of its captions have.
    * Labels: a query is all tags of an item, or else its labels; a hit is right if it shares a label with it.
    * Tags: the rule is that of captions, with the tags of an item as the words.

    Attributes:
        basis: "captions", "labels" or "tags".
        right: what a hit has to be, in words.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        """Measure the information of words in a sample of the items."""
        shares = {name: np.mean([bool(item.get(name)) for item in items]) for name in _TEXTS}
        self.basis = next((name for name in _TEXTS if shares[name] >= 0.5), None)
        self.right = (
            "it shares a label with the item that the query stands for"
            if self.basis == "labels"
            else "its texts hold more than half of the information of the query"
        )
        counts = Counter(word for item in items for word in words(item))
        self._information = {word: math.log(len(items) / count) for word, count in counts.items()}
        self._rare = math.log(len(items) + 1)

    def text(self, item: Item, rng: np.random.Generator) -> str | None:
        """Return a query that stands for an item; None if it has no texts."""
        if self.basis == "labels":
            return " ".join(item.get("tags") or map(clean_class_name, item.get("labels") or [])) or None
        texts = item.get(str(self.basis)) or []
        if not texts:
            return None
        chosen = texts[rng.integers(len(texts))] if self.basis == "captions" else " ".join(texts)
        told = [word for word in _WORD.findall(chosen.lower()) if self._is_usual(_stem(word))]
        some = np.sort(rng.permutation(len(told))[: rng.integers(1, 3)])
        return " ".join(told[at] for at in some) or None

    def _is_usual(self, word: str) -> bool:
        return _LEAST <= self._measure({word}) <= _MOST

    def judge(self, asked: Item, text: str | None, hits: Sequence[Item]) -> np.ndarray:
        """Return bool (n,): which hits are right.

        Args:
            asked: the item that the query stands for.
            text: the text of the query; None for a picture.
            hits: the items that were found.
        """
        if self.basis == "labels":
            labels = set(asked.get("labels") or [])
            return np.array([bool(labels.intersection(hit.get("labels") or [])) for hit in hits], bool)
        wanted = self._meant(asked) if text is None else _words(text)
        enough = self._measure(wanted) / 2
        return np.array([self._measure(wanted & words(hit)) > enough for hit in hits], bool)

    def _meant(self, item: Item) -> set[str]:
        """Return the words that at least half of the captions of an item have, or all its tags."""
        texts = [_words(text) for text in item.get(str(self.basis)) or []]
        counts = Counter(word for text in texts for word in text)
        least = len(texts) / 2 if self.basis == "captions" else 0
        return {word for word, count in counts.items() if count >= least}

    def _measure(self, words: set[str]) -> float:
        """Return the information of words, in nats."""
        return sum(self._information.get(word, self._rare) for word in words)


_TEXTS = ("captions", "labels", "tags")


def words(item: Item) -> set[str]:
    """Return the distinct words of an item's captions, labels and tags."""
    return {word for name in _TEXTS for text in item.get(name) or [] for word in _words(text)}


def _words(text: str) -> set[str]:
    """Return the distinct words of a text in lower case, without a plural s."""
    return {_stem(word) for word in _WORD.findall(text.lower())}


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word[-1] == "s" != word[-2] else word
