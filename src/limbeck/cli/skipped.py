"""What could not be read and what was passed over, told on standard error."""

from __future__ import annotations

from collections import Counter
from typing import Any

from limbeck.console import echo

_SHOWN = 10


class SkipList:
    """Takes (id, reason) of each skipped item and reports the first few, and their number by kind."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str]] = []

    def __call__(self, item_id: str, reason: str) -> None:
        """Take one; a `limbeck.pictures.Reason` has a kind of its own."""
        self.take(item_id, reason, str(getattr(reason, "kind", "unreadable")))

    def take(self, item_id: str, reason: str, kind: str) -> None:
        """Take one of a kind."""
        self.entries.append((item_id, reason, kind))

    def report(self, source: Any = None, where: str = "") -> None:
        """Print to standard error; nothing if nothing was skipped.

        Args:
            source: where the items came from; what a folder passed over is told too.
            where: a file that lists the skipped items.
        """
        for item_id, reason, _ in self.entries[:_SHOWN]:
            echo(f"skipped {item_id}: {reason}", err=True)
        if self.entries:
            kinds = Counter(kind for _, _, kind in self.entries)
            told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
            listed = f", listed in {where}" if where else ""
            echo(f"{len(self.entries)} item(s) skipped ({told}){listed}", err=True)
        passed = getattr(source, "passed", None)
        if passed is not None and passed.line():
            echo(f"{source.root}: {passed.line()}", err=True)
