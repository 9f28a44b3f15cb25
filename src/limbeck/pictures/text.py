"""Text brought to one form."""

from __future__ import annotations

import unicodedata


def normalize_text(text: str) -> str:
    """NFC, every run of white space one blank, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())
