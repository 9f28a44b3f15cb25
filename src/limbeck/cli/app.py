"""The ``limbeck`` command: verbs joined into one Typer application."""

from __future__ import annotations

import sys

import typer

from limbeck.errors import LimbeckError

app = typer.Typer(
    name="limbeck",
    help="Distil large vision-language models into small ones for image-text search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line: exit 0 done, 1 failed with one clear line, 2 bad usage, 130 interrupted."""
    try:
        app()
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("limbeck: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
