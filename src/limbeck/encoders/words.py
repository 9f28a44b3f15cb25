"""The words of a text, in any script: what bags of words count and word tokenizers know.

Rule 1 is that of the first models: runs of letters and digits. It leaves out vowel signs and other marks, so
that Hindi words merge and Arabic words break, and takes a Chinese sentence for one word. Rule 2 keeps the
marks of a word, and cuts scripts that are written without blanks into characters. On Latin, Greek and
Cyrillic letters without marks both find the same words. A saved vocabulary keeps the rule that made it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

from limbeck.errors import LimbeckError

RULE = 2
"""The rule of new towers."""

# Scripts written without blanks between words, and two signs that Unicode counts to several scripts.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\uff70\u3006"
_JOINERS = r"\u200c\u200d"  # between letters of Persian and Indian words
_CHARACTER = rf"(?=[\p{{L}}\p{{N}}])[{_UNSPACED}][\p{{M}}{_JOINERS}]*"
_WORD = rf"(?![{_UNSPACED}])[\p{{L}}\p{{N}}_](?:(?![{_UNSPACED}])[\p{{L}}\p{{N}}\p{{M}}_{_JOINERS}])*"
_FIRST_RULE = re.compile(r"\w+", re.UNICODE)
# Lower case of the Turkish dotted capital is an i with a second dot.
_DOTTED = ("i\u0307", "i")


def words(text: str, rule: int = RULE) -> list[str]:
    """The case-folded words of a text, the same in any Unicode form (NFC)."""
    return _RULES[rule](text)


def check_rule(rule: int, file: Path) -> None:
    """Refuse a vocabulary of a rule that this limbeck does not know."""
    if rule not in _RULES:
        raise LimbeckError(f"{file}: its words are cut by rule {rule}, which this limbeck lacks; upgrade it")


def isolate_characters() -> pre_tokenizers.PreTokenizer:
    """A step of a tokenizer that makes each character of an unspaced script a word of its own."""
    return pre_tokenizers.Split(Regex(_CHARACTER), "isolated")


def single_dot() -> normalizers.Normalizer:
    """A step of a tokenizer, after lower-casing: the Turkish dotted capital is an i."""
    return normalizers.Replace(*_DOTTED)


def _first(text: str) -> list[str]:
    return _FIRST_RULE.findall(unicodedata.normalize("NFC", text).casefold())


def _second(text: str) -> list[str]:
    folded = unicodedata.normalize("NFC", text).casefold().replace(*_DOTTED)
    if folded.isascii():
        return _FIRST_RULE.findall(folded)
    return [word for word, _ in _splitter().pre_tokenize_str(unicodedata.normalize("NFC", folded))]


@cache
def _splitter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(f"{_CHARACTER}|{_WORD}"), "removed", invert=True)


_RULES: dict[int, Callable[[str], list[str]]] = {1: _first, 2: _second}
