"""Report skipped items on standard error."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from limbeck.console import echo

if TYPE_CHECKING:
    from limbeck.encoding import Source
    from limbeck.index.encoded import Encoded

_SHOWN = 10


class SkipList:
    """Collect (id, reason) of each skipped item; report the first few, and the number per kind."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str]] = []

    def __call__(self, item_id: str, reason: str) -> None:
        """Add one item; the kind comes from a `limbeck.pictures.Reason`, else it is "unreadable"."""
        self.take(item_id, reason, str(getattr(reason, "kind", "unreadable")))

    def take(self, item_id: str, reason: str, kind: str) -> None:
        """Add one item of a given kind."""
        self.entries.append((item_id, reason, kind))

    def report(self, source: Source | Encoded | None = None, where: str = "") -> None:
        """Print the skipped items to standard error, if there are any.

        Args:
            source: where the items came from; files that a folder source skipped are reported too.
            where: a file that lists the skipped items.
        """
        for item_id, reason, _ in self.entries[:_SHOWN]:
            echo(f"skipped {item_id}: {reason}", err=True)
        if self.entries:
            kinds = Counter(kind for _, _, kind in self.entries)
            summary = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
            listed = f", listed in {where}" if where else ""
            echo(f"{len(self.entries)} item(s) skipped ({summary}){listed}", err=True)
        if source is not None:
            from limbeck.encoding import PictureFolder

            if isinstance(source, PictureFolder) and (line := source.skipped.line()):
                echo(f"{source.root}: {line}", err=True)
