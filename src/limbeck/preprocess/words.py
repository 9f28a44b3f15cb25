"""The words of a text, in any script, for bags of words and word tokenizers.

Rule 1 of the first models takes runs of letters and digits. It drops vowel signs and other marks. Hindi words
merge, Arabic words break, and a Chinese sentence is one word. Rule 2 keeps the marks of a word and splits
scripts without blanks into characters. On Latin, Greek and Cyrillic letters without marks both rules give the
same words. A saved vocabulary keeps the rule that made it.
"""

from __future__ import annotations

import re
import string
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
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Lower case of the Turkish dotted capital is an i with a second dot.
_DOTTED = ("i\u0307", "i")


def words(text: str, rule: int = RULE) -> list[str]:
    """Split a text into case-folded words, equal for every Unicode form (NFC)."""
    return _RULES[rule](text)


def canonical(text: str) -> str:
    """Return a text as in SigLIP's training: lower case, no ASCII punctuation, single blanks."""
    return " ".join(text.replace("_", " ").translate(_PUNCTUATION).lower().split())


def check_rule(rule: int, file: Path) -> None:
    """Refuse a vocabulary whose rule this version of limbeck does not know."""
    if rule not in _RULES:
        raise LimbeckError(
            f"{file}: its words follow rule {rule}, which this version lacks; upgrade limbeck",
            code="E-FILE-VERSION",
        )


def isolate_characters() -> pre_tokenizers.PreTokenizer:
    """Return a pre-tokenizer that makes each character of an unspaced script a word."""
    return pre_tokenizers.Split(Regex(_CHARACTER), "isolated")


def single_dot() -> normalizers.Normalizer:
    """Return a normalizer, for use after lower-casing, that maps the Turkish dotted capital to i."""
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
