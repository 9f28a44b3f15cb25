"""Texts on which tokenizers differ: accents, case, scripts, marks, emoji, blanks, control characters."""

from __future__ import annotations

import random

_SENTENCE = (
    "a dog runs über den Fluß ΣΑΣ straße İstanbul I ﬁne naïve café 日本語の本 東京 ไทย हिन्दी क्षि العَرَبِيَّة "
    "שָׁלוֹם 👩‍👩‍👧 🏳️‍🌈 [SOS] [PAD] [CLS] [UNK] [SEP]x don't co-op 3.5% 50€ e\u0301 ＡＢＣ ½ "
    "x² ___ _a ﷺ ß ẞ ŉ ǆ "
    "µ ſ ᾳ Ꮳ ꮳ İ ı 的的 カタカナ ｶﾀｶﾅ ー ・ dogs running playing ##ing 한국어 กิน မြန်မာ"
)
_BLANKS = [
    " ",
    "  ",
    "\r",
    "\t",
    "\n",
    "\u3000",
    "\u00a0",
    "\u2028",
    "\x1c",
    "\x85",
    "\ufeff",
    "\u200d",
    "\u200c",
    "\0",
]
_CHARACTERS = [
    chr(number)
    for block in (
        (0x20, 0x250),
        (0x370, 0x400),
        (0x590, 0x600),
        (0x900, 0x980),
        (0x3040, 0x3100),
        (0x4E00, 0x4E20),
    )
    for number in range(*block)
] + list("😀👨\u200d\ufe0f\u0301\u0308\0\x01\ufffd\xad")


def hard_texts(count: int, seed: int = 0) -> list[str]:
    """Sentences, runs of characters, and the ends of what is allowed."""
    draw = random.Random(seed)
    pool = _SENTENCE.split(" ") + _BLANKS
    texts = [" ".join(draw.choices(pool, k=draw.randint(0, 12))) for _ in range(count)]
    texts += ["".join(draw.choices(pool + _CHARACTERS, k=draw.randint(0, 30))) for _ in range(count)]
    return [*texts, "", "word " * 200, "x" * 150, "ΣΑΣ"]
