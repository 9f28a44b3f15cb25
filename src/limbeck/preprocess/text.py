"""Texts to token ids or word counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
import tokenizers

from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.preprocess.base import Arrays, Preprocessor
from limbeck.preprocess.words import canonical, check_rule, words
from limbeck.typed import Json

Array = TypeVar("Array")
UNKNOWN = "[UNK]"
STEP = 16
_TOLD = ("pad", "length", "known", "prefix", "lower")
_LATER = ("canonical", "whole")  # later settings, False where they are missing


@dataclass(frozen=True)
class TokenPreprocessor:
    """Tokenize texts and pad them to the longest one.

    Attributes:
        tokenizer: a tokenizer without padding and truncation.
        pad: the id of the padding token.
        length: the largest number of tokens that the tower reads; a longer text keeps its end token.
        known: when a query is understood: ``token``, one token of it is not the unknown one; ``word``, one
            word of it is a single token or has a first piece of at least 3 letters and half its length. Word
            pieces can spell anything, so a word in small pieces means nothing to a sentence encoder.
        prefix: precedes each text.
        lower: whether texts are lower-cased first.
        canonical: whether texts are also stripped of punctuation first (`canonical`).
        whole: whether every text is padded to ``length``, for towers that see the padding.
    """

    tokenizer: tokenizers.Tokenizer
    pad: int
    length: int
    known: Literal["token", "word"]
    prefix: str = ""
    lower: bool = False
    canonical: bool = False
    whole: bool = False
    kind: ClassVar[str] = "tokens"

    def __call__(self, items: Sequence[str]) -> Arrays:
        """Return ``input_ids`` and ``attention_mask``, (B, L) int64 each.

        L is a multiple of 16 where ``length`` allows it. Sums over tokens then add in the same order, and a
        text has the same numbers, to the last bit on most processors, whatever else is in its batch.
        """
        clean = canonical if self.canonical else str.lower if self.lower else str
        texts = [self.prefix + clean(text) for text in items]
        encoded = [text.ids for text in self.tokenizer.encode_batch_fast(texts)]
        rows = [ids if len(ids) <= self.length else [*ids[: self.length - 1], ids[-1]] for ids in encoded]
        longest = self.length if self.whole else max(map(len, rows), default=1)
        width = min(self.length, -(-longest // STEP) * STEP)
        ids = np.full((len(rows), width), self.pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def check_query(self, item: str) -> None:
        """Raise `LimbeckError` when no word of the query is known."""
        known = knows(self.tokenizer, item) if self.known == "token" else self._knows_word(item)
        if not known:
            raise unknown_query(item)

    def _knows_word(self, text: str) -> bool:
        for word in words(text):
            tokens = self.tokenizer.encode(word, add_special_tokens=False).tokens
            # Some vocabularies mark the start of a word, sometimes by a separate piece.
            pieces = [bare for piece in tokens if (bare := piece.lstrip("\u2581\u0120"))]
            if not pieces or pieces[0] in (UNKNOWN, "<unk>"):
                continue
            if len(pieces) == 1 or (len(pieces[0]) >= 3 and 2 * len(pieces[0]) >= len(word)):
                return True
        return False

    def save(self, folder: Path) -> dict[str, Json]:
        """Write ``tokenizer.json`` and return the settings."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        return {"kind": self.kind, **{name: getattr(self, name) for name in (*_TOLD, *_LATER)}}


@dataclass(frozen=True)
class BagPreprocessor:
    """Count the words of a vocabulary and scale each row to unit length.

    Attributes:
        vocabulary: the words, in the order of the columns.
        rule: the rule that splits a text into words (see `limbeck.preprocess.words`).
    """

    vocabulary: Sequence[str]
    rule: int
    kind: ClassVar[str] = "bag"
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {word: i for i, word in enumerate(self.vocabulary)})

    def __call__(self, items: Sequence[str]) -> Arrays:
        """Return ``counts`` (B, vocabulary) float32."""
        starts, columns, values = self.counted(items)
        counts = np.zeros((len(items), len(self.vocabulary)), np.float32)
        counts[np.repeat(np.arange(len(items)), np.diff(starts)), columns] = values
        return {"counts": counts}

    def counted(self, items: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the numbers that are not 0; row i has those from ``starts[i]`` to before ``starts[i + 1]``.

        Returns:
            starts, int64 (B + 1); columns, int64 (n); values, float32 (n).
        """
        rows = [
            Counter(column for word in words(text, self.rule) if (column := self.index.get(word)) is not None)
            for text in items
        ]
        lengths = [len(row) for row in rows]
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        columns = np.array([column for row in rows for column in row], np.int64)
        values = np.array([count for row in rows for count in row.values()], np.float32)
        # Sums of squared counts are exact in float32, so that the norm is as well as its root.
        norms = [sum(count * count for count in row.values()) for row in rows]
        return starts, columns, values / np.repeat(np.sqrt(np.array(norms, np.float32)), lengths)

    def check_query(self, item: str) -> None:
        """Raise `LimbeckError` when no word of the query is known."""
        if not any(word in self.index for word in words(item, self.rule)):
            raise unknown_query(item)

    def save(self, folder: Path) -> dict[str, Json]:
        """Write ``vocabulary.json`` and return the settings."""
        write_json(folder / "vocabulary.json", {"rule": self.rule, "words": list(self.vocabulary)})
        return {"kind": self.kind}


@dataclass(frozen=True)
class ConcatPreprocessor:
    """Give the same texts to several preprocessors; the names of arrays begin with the part's number."""

    parts: Sequence[Preprocessor]
    kind: ClassVar[str] = "concat"

    def __call__(self, items: Sequence[str]) -> Arrays:
        """Return the arrays of all parts."""
        return join_parts([part(items) for part in self.parts])

    def check_query(self, item: str) -> None:
        """Raise `LimbeckError` when no part knows a word of the query."""
        check_parts(self.parts, item)

    def save(self, folder: Path) -> dict[str, Json]:
        """Write one folder per part and return the settings of all."""
        settings = []
        for i, part in enumerate(self.parts):
            (folder / str(i)).mkdir()
            settings.append(part.save(folder / str(i)))
        return {"kind": self.kind, "parts": settings}


def join_parts(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays of several parts by name; a name begins with the number of its part."""
    return {f"{i}.{name}": array for i, part in enumerate(parts) for name, array in part.items()}


def split_parts(arrays: Mapping[str, Array], count: int) -> list[dict[str, Array]]:
    """Return the arrays of each of ``count`` parts; the inverse of `join_parts`."""
    parts: list[dict[str, Array]] = [{} for _ in range(count)]
    for joined, array in arrays.items():
        number, _, name = joined.partition(".")
        parts[int(number)][name] = array
    return parts


class ChecksQuery(Protocol):
    """Anything that can reject a query of which it knows nothing."""

    def check_query(self, item: str) -> None:
        """Raise `LimbeckError` when nothing in the query is known."""
        ...


def check_parts(parts: Sequence[ChecksQuery], item: str) -> None:
    """Raise the first part's `LimbeckError` when no part knows a word of the query."""
    errors = []
    for part in parts:
        try:
            part.check_query(item)
        except LimbeckError as error:
            errors.append(error)
    if len(errors) == len(parts):
        raise errors[0]


def load_text(settings: dict[str, Any], folder: Path) -> Preprocessor:
    """Rebuild a preprocessor of texts (see `limbeck.preprocess.preprocessor_from_json`)."""
    if settings["kind"] == ConcatPreprocessor.kind:
        parts = enumerate(settings["parts"])
        return ConcatPreprocessor([load_text(part, folder / str(i)) for i, part in parts])
    if settings["kind"] == BagPreprocessor.kind:
        stored = read_json(folder / "vocabulary.json")
        check_rule(int(stored["rule"]), folder / "vocabulary.json")
        return BagPreprocessor(list(stored["words"]), int(stored["rule"]))
    options = {name: settings[name] for name in _TOLD}
    options |= {name: settings.get(name, False) for name in _LATER}
    return TokenPreprocessor(read_tokenizer(folder), **options)


def read_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """Read ``tokenizer.json`` of a saved tower.

    Raises:
        LimbeckError: a file is missing or damaged.
    """
    try:
        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the Rust side raises bare Exception
        raise LimbeckError(
            f"{folder / 'tokenizer.json'}: cannot be read ({str(error)[:120]}); restore it",
            code="E-MODEL-DAMAGED",
        ) from None


def knows(tokenizer: tokenizers.Tokenizer, text: str) -> bool:
    """Return True when at least one token of the text is not the unknown token."""
    unknown = {tokenizer.token_to_id(name) for name in (UNKNOWN, "<unk>")}
    return any(token not in unknown for token in tokenizer.encode(text, add_special_tokens=False).ids)


def unknown_query(item: str) -> LimbeckError:
    """Return the error for a query of which no word is known."""
    return LimbeckError(
        f"query {item!r}: the model knows none of its words; try other words", code="E-QUERY-WORDS"
    )
