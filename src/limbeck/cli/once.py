"""Refuse a repeated option that takes one value, and name the commands that have an unknown option."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

RENAMED = {("evaluate", "--like"): "--metric-preset", ("push", "--lists"): "--nlist"}
"""Command and former name of an option → its current name, which the error names."""


class OnceCommand(TyperCommand):
    """A command that refuses repeated options, except those that take several values.

    Otherwise the last value would win silently.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Check each option, then parse the arguments as click does."""
        try:
            _, _, options = self.make_parser(ctx).parse_args(args=list(args))
        except Exception as error:  # click's NoSuchOption, which lies elsewhere in newer versions of Typer
            option = getattr(error, "option_name", None)
            if (new := RENAMED.get((ctx.info_name, str(option)))) is not None:
                raise typer.BadParameter(f"{option} is now named {new}; rename it", ctx) from None
            owners = [] if option is None else _owners(option, ctx)
            if owners and ctx.info_name not in owners:
                raise typer.BadParameter(
                    f"{ctx.info_name} has no option {option}; it is an option of {', '.join(owners)}", ctx
                ) from None
            raise
        for option, count in Counter(options).items():
            several = getattr(option, "multiple", False) or getattr(option, "is_flag", False)
            if isinstance(option, TyperOption) and count > 1 and not several:
                raise typer.BadParameter(f"{option.opts[0]} is given {count} times; give it once", ctx)
        return super().parse_args(ctx, args)


def _owners(option: str, ctx: Any) -> list[str]:
    """Return the commands of the same group that have an option."""
    group = {} if ctx.parent is None else getattr(ctx.parent.command, "commands", {})
    return [name for name, verb in group.items() if any(option in own.opts for own in verb.params)]


def refuse_repeats(app: typer.Typer) -> None:
    """Make every verb of an application and of its groups an `OnceCommand`."""
    for verb in app.registered_commands:
        verb.cls = OnceCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            refuse_repeats(group.typer_instance)
