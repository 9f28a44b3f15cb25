"""Make a chain of texts, from coarse to fine, of each picture: by rule, in the given order, or by class path.

Each text of a chain should entail the picture. A chain needs at least two different texts. The phrases follow
Hyper3-CLIP (arXiv 2608.29313), which splits a caption at punctuation and at the words of `_JOINS`; the short
phrase above them, and the order of the levels, are ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.data.prompts import clean_class_name
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.pictures import normalize_text

ChainSource = Literal["rule", "order", "path"]
"""``rule``: phrases of the first caption; ``order``: all captions, finest first; ``path``: the class path."""

_JOINS = ("and", "with", "near", "beside", "behind", "under", "above", "around", "next to")
_ENDS = [
    "in", "on", "at", "of", "to", "by", "from", "into", "through", "over", "across", "along", "against",
    "between", "during", "while", "as", "who", "that", "which", "is", "are", "was", "were", "has", "have",
    "be", "being", "wearing", "holding",
]  # fmt: skip
_WORDS = range(2, 9)  # of a phrase
_WINDOW = 6  # words of a longer phrase that are kept

RULE = (
    "first caption; sentences end at . ! ? ;, phrases at , ; : ( ) and at "
    + ", ".join(_JOINS)
    + f"; a phrase has {_WORDS[0]} to {_WORDS[-1]} words, of a longer one the first {_WINDOW} count; the "
    "chain is the start of the first phrase before "
    + ", ".join(_ENDS)
    + " (at least two words), the first phrase, the first sentence, and the caption"
)
"""The rule in words; a protocol that names it includes it in its hash."""


def chain_version(source: ChainSource) -> str:
    """Return a hash of the words of the rule, or of another source; a result records it."""
    return sha256_json({"rule": RULE} if source == "rule" else source)[:12]


_SENTENCE = re.compile(r"[.!?;]+(?:\s+|$)")
_PHRASE = re.compile(r"[,;:()]|\b(?:" + "|".join(join.replace(" ", r"\s+") for join in _JOINS) + r")\b", re.I)


@dataclass(frozen=True)
class Chains:
    """The chains of some pictures.

    Attributes:
        texts: the chain of each picture, from coarse to fine, length P.
        rows: row of the pairs table of each picture, int64 (P,).
        without: the number of rows that have no chain of two texts.
    """

    texts: list[list[str]]
    rows: np.ndarray
    without: int


def read_chains(pairs: Pairs, rows: np.ndarray, source: ChainSource) -> Chains:
    """Make the chains of some rows of a data set.

    Raises:
        LimbeckError: no row has a chain of two texts.
    """
    chains = find_chains(pairs, rows, source)
    if not chains.texts:
        column = "path" if source == "path" else "captions"
        raise LimbeckError(
            f"{pairs.path}: no row has a chain of two texts by {source}; give at least two "
            f"different texts, one more general than the other, in the column {column}",
            code="E-DATA-TEXT",
        )
    return chains


def find_chains(pairs: Pairs, rows: np.ndarray, source: ChainSource) -> Chains:
    """Make the chains of some rows, which may all lack one."""
    rows = np.asarray(rows, np.int64)
    found = _found(pairs, rows, source)
    keep = np.array([len(chain) > 1 for chain in found], bool)
    return Chains([chain for chain in found if len(chain) > 1], rows[keep], int((~keep).sum()))


def caption_chain(caption: str) -> list[str]:
    """Return a caption below its sentence, its first phrase and that phrase's start, coarse first.

    Levels that would repeat a finer one are left out, so a short caption may be its own whole chain.
    """
    caption = normalize_text(caption)
    sentence = next((part for part in _SENTENCE.split(caption) if part.strip()), "").strip()
    phrase = first_phrase(sentence)
    levels = [_start(phrase), phrase, sentence, caption]
    return _without_repeats(levels)


def coarsest(text: str) -> str:
    """Return the coarsest level of a text's chain; a text without levels is its own coarsest level."""
    return next(iter(caption_chain(text)), text)


def first_phrase(sentence: str) -> str:
    """Return the first phrase of a sentence with at least two words, or an empty string."""
    for part in _PHRASE.split(sentence):
        words = part.split()
        if len(words) >= _WORDS[0]:
            return " ".join(words if len(words) in _WORDS else words[:_WINDOW])
    return ""


def _start(phrase: str) -> str:
    words = phrase.split()
    end = next((at for at, word in enumerate(words) if at >= 2 and word.lower() in _ENDS), len(words))
    return " ".join(words[:end])


def plain_text(text: str) -> str:
    """Return a text without its final mark and in lower case; texts that are equal so say the same."""
    return text.lower().rstrip(" .!?")


def _without_repeats(levels: Sequence[str]) -> list[str]:
    """Leave out empty levels, and levels that differ from a finer one only in case or the final full stop."""
    kept: list[str] = []
    for level in reversed(levels):
        if plain_text(level) and plain_text(level) not in map(plain_text, kept):
            kept.append(level)
    return kept[::-1]


def _found(pairs: Pairs, rows: np.ndarray, source: ChainSource) -> list[list[str]]:
    if source == "path":
        paths = pairs.class_paths
        return [_without_repeats([clean_class_name(name) for name in paths[row]]) for row in rows.tolist()]
    captions = [
        [text for text in map(normalize_text, texts) if text] for texts in pairs.texts("captions", rows)
    ]
    if source == "order":
        return [_without_repeats(texts[::-1]) for texts in captions]
    return [caption_chain(texts[0]) if texts else [] for texts in captions]
