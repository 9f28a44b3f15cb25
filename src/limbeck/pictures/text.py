"""Normalisation of text."""

from __future__ import annotations

import unicodedata


def normalize_text(text: str) -> str:
    """Return the text in NFC, with single blanks for runs of white space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())
