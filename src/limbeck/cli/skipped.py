"""Items that could not be read, told on standard error."""

from __future__ import annotations

import typer

_SHOWN = 10


class SkipList:
    """Takes (id, reason) of each skipped item and reports the first few, and how many there were."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    def __call__(self, item_id: str, reason: str) -> None:
        """Take one."""
        self.entries.append((item_id, reason))

    def report(self, where: str = "") -> None:
        """Print to standard error; nothing if nothing was skipped."""
        for item_id, reason in self.entries[:_SHOWN]:
            typer.echo(f"skipped {item_id}: {reason}", err=True)
        if self.entries:
            typer.echo(f"{len(self.entries)} item(s) skipped{where}", err=True)
