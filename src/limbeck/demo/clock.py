"""Report which step of the demo runs and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from limbeck.console import echo


class Clock:
    """A clock for steps with expected seconds."""

    def __init__(self, expected: dict[str, float]) -> None:
        self.expected = dict(expected)
        self.began = time.monotonic()
        self.spent: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Announce a step and measure its time."""
        number = list(self.expected).index(name) + 1
        echo(f"[{number}/{len(self.expected)}] {text}  ({self._left(name)})", err=True)
        began = time.monotonic()
        yield
        self.spent[name] = time.monotonic() - began

    def _left(self, name: str) -> str:
        names = list(self.expected)
        rest = sum(self.expected[n] for n in names[names.index(name) :])
        return (
            f"about {max(1, round(rest / 10)) * 10} s left"
            if rest < 90
            else f"about {rest / 60:.0f} min left"
        )

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self.began
