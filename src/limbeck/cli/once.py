"""Refuse an option with one value that is given twice; otherwise the last value would win silently."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption


class OnceCommand(TyperCommand):
    """A command that refuses repeated options, except those that take several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Count each option, then parse the arguments as click does."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option, count in Counter(given).items():
            several = getattr(option, "multiple", False) or getattr(option, "is_flag", False)
            if isinstance(option, TyperOption) and count > 1 and not several:
                raise typer.BadParameter(f"{option.opts[0]} is given {count} times; give it once", ctx)
        return super().parse_args(ctx, args)


def refuse_repeats(app: typer.Typer) -> None:
    """Make every verb of an application and of its groups an `OnceCommand`."""
    for verb in app.registered_commands:
        verb.cls = OnceCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            refuse_repeats(group.typer_instance)
