"""Turns the text tower of an index into data for ``static/text.js`` and ``static/graph.js``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.onnx.encoder import OnnxTower
from limbeck.preprocess import Preprocessor
from limbeck.preprocess.text import UNKNOWN, BagPreprocessor, ConcatPreprocessor, TokenPreprocessor
from limbeck.preprocess.words import isolate_characters
from limbeck.site.graph import read_graph
from limbeck.typed import Json

MOST_BYTES = 16_000_000
"""The largest tower of a site: 22 MB as a script, which a visitor loads before the first answer."""
_NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer")
_SPLITTERS = ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")


class Unsupported(Exception):
    """A part of a tower that the browser lacks."""


@dataclass(frozen=True)
class BrowserTower:
    """A text tower for the browser.

    Attributes:
        told: JSON: the settings of `TextTower` in static/text.js.
        blob: the weights.
    """

    told: dict[str, object]
    blob: bytes


def browser_tower(tower: OnnxTower, index: Path) -> BrowserTower:
    """Return the text tower of an index for the browser.

    Raises:
        LimbeckError: it is too large, or one of its parts is unknown to the browser.
    """
    size = tower.graph.stat().st_size
    if size > MOST_BYTES:
        raise _refused(index, f"weighs {size / 1e6:.0f} MB, and a page loads at most {MOST_BYTES / 1e6:.0f}")
    try:
        told = preprocess_settings(tower.preprocess)
        program = read_graph(tower.graph)
        if program.unknown:
            raise Unsupported(f"operator {program.unknown[0]}")
    except Unsupported as part:
        raise _refused(index, f"needs {part}, which the page lacks") from None
    packed, blob = program.packed()
    return BrowserTower({"preprocess": told, "program": packed}, blob)


def _refused(index: Path, why: str) -> LimbeckError:
    return LimbeckError(
        f"{index}: its text tower {why}; make a small one (limbeck distil-text MODEL TEXTS --out SMALL, then "
        f"limbeck index encoder {index} --model SMALL), or give --no-text",
        code="E-MODEL-UNSUPPORTED",
    )


def preprocess_settings(preprocess: Preprocessor) -> dict[str, Json]:
    """Return the settings of `preprocessor` in static/text.js.

    Raises:
        Unsupported: the page lacks a part of the tokenizer.
    """
    if isinstance(preprocess, ConcatPreprocessor):
        return {"kind": "concat", "parts": [preprocess_settings(part) for part in preprocess.parts]}
    if isinstance(preprocess, BagPreprocessor):
        words = list(preprocess.vocabulary)
        return {"kind": "bag", "vocabulary": words, "rule": preprocess.rule, "folds": case_folds()}
    if not isinstance(preprocess, TokenPreprocessor):
        raise Unsupported(f"inputs of kind {preprocess.kind}")
    tokenizer = preprocess.tokenizer
    unknown = [number for name in (UNKNOWN, "<unk>") if (number := tokenizer.token_to_id(name)) is not None]
    names = ("pad", "length", "known", "prefix", "lower", "canonical", "whole")
    told: dict[str, Json] = {name: getattr(preprocess, name) for name in names}
    folds = case_folds() if preprocess.known == "word" else {}
    stored = json.loads(tokenizer.to_str())
    return {"kind": "tokens", **told, "unknown": unknown, "folds": folds, "tokenizer": _tokenizer(stored)}


def _tokenizer(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `Tokenizer` in static/text.js for a ``tokenizer.json``."""
    for token in stored["added_tokens"]:
        if token["normalized"] or token["single_word"] or token["lstrip"] or token["rstrip"]:
            raise Unsupported(f"the added token {token['content']!r}")
    model = _model(stored["model"])
    ids = {word: number for number, word in enumerate(model["vocabulary"])}
    before, after = _frame(stored["post_processor"], ids)
    return {
        "normalizers": [_normalizer(one) for one in _flat(stored["normalizer"], "normalizers")],
        "splitters": [_splitter(one) for one in _flat(stored["pre_tokenizer"], "pretokenizers")],
        "model": model,
        "added": [[token["content"], token["id"]] for token in stored["added_tokens"]],
        "before": before,
        "after": after,
    }


def _flat(stage: Mapping[str, Any] | None, inner: str) -> Sequence[Mapping[str, Any]]:
    if stage is None:
        return []
    return (
        [stage]
        if stage["type"] != "Sequence"
        else [one for part in stage[inner] for one in _flat(part, inner)]
    )


def _normalizer(stage: Mapping[str, Any]) -> list[Any]:
    kind = stage["type"]
    if kind == "Replace" and "String" in stage["pattern"]:
        return [kind, {"from": stage["pattern"]["String"], "to": stage["content"]}]
    if kind not in _NORMALIZERS:
        raise Unsupported(f"the normalizer {kind}")
    return [kind, {name: value for name, value in stage.items() if name != "type"}]


def _splitter(stage: Mapping[str, Any]) -> str:
    if stage == json.loads(isolate_characters().__getstate__()):
        return "characters"
    if stage["type"] not in _SPLITTERS:
        raise Unsupported(f"the pre-tokenizer {stage['type']}")
    return str(stage["type"])


def _model(stored: Mapping[str, Any]) -> dict[str, Any]:
    kind = stored["type"]
    vocabulary: list[str | None] = [None] * (max(stored["vocab"].values(), default=-1) + 1)
    for word, number in stored["vocab"].items():
        vocabulary[number] = word
    told = {
        "type": kind,
        "vocabulary": vocabulary,
        "unknown": stored["vocab"].get(stored.get("unk_token"), 0),
    }
    if kind == "WordLevel":
        return told
    if kind == "WordPiece":
        longest = stored["max_input_chars_per_word"]
        return told | {"prefix": stored["continuing_subword_prefix"], "longest": longest}
    plain = not any(
        stored.get(name)
        for name in (
            "dropout",
            "continuing_subword_prefix",
            "end_of_word_suffix",
            "fuse_unk",
            "byte_fallback",
            "ignore_merges",
        )
    )
    if kind != "BPE" or not plain or stored.get("unk_token") is None:
        raise Unsupported(f"the tokenizer {kind}")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in stored["merges"]]
    return told | {"merges": merges}


def _frame(stage: Mapping[str, Any] | None, ids: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Return the ids before and after those of a text."""
    if stage is None:
        return [], []
    if stage["type"] == "BertProcessing":
        return [stage["cls"][1]], [stage["sep"][1]]
    if stage["type"] != "TemplateProcessing":
        raise Unsupported(f"the post-processor {stage['type']}")
    frame: tuple[list[int], list[int]] = ([], [])
    place = 0
    for part in stage["single"]:
        if "Sequence" in part:
            place += 1
        else:
            frame[place].extend(stage["special_tokens"][part["SpecialToken"]["id"]]["ids"])
    return frame


@cache
def case_folds() -> dict[str, str]:
    """Return the characters whose `str.casefold` is not their lower case; JavaScript has only the latter."""
    characters = (chr(number) for number in range(sys.maxunicode + 1))
    return {c: folded for c in characters if (folded := c.casefold()) != c.lower()}
