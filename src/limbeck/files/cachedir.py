"""The folder of everything that limbeck can compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """Return ``$LIMBECK_CACHE``, else ``~/.cache/limbeck``; it may not exist yet."""
    return Path(os.environ.get("LIMBECK_CACHE") or Path.home() / ".cache" / "limbeck")
