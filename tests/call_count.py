"""Work counted in Python calls: what a clock would say, the same on a busy machine."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace


@contextmanager
def counted() -> Iterator[SimpleNamespace]:
    """``calls`` of the block, set at its end: functions of Python and of C that Python calls."""
    found, profile = SimpleNamespace(calls=0), cProfile.Profile()
    profile.enable()
    try:
        yield found
    finally:
        profile.disable()
        found.calls = int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]
