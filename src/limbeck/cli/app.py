"""Join the verbs into one Typer application, the ``limbeck`` command."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TextIO

import typer

from limbeck import __version__
from limbeck.cli.cache import cache
from limbeck.cli.compare import compare
from limbeck.cli.compress import compress
from limbeck.cli.data import data_app
from limbeck.cli.demo import demo
from limbeck.cli.distil_text import distil_text
from limbeck.cli.doctor import doctor
from limbeck.cli.encode import encode
from limbeck.cli.evaluate import evaluate
from limbeck.cli.export import export as export_model
from limbeck.cli.grid import grid
from limbeck.cli.index import app as index_app
from limbeck.cli.index_changes import add, compact, export, remove, sync
from limbeck.cli.once import refuse_repeats
from limbeck.cli.push import push
from limbeck.cli.reproduce import reproduce
from limbeck.cli.search import search
from limbeck.cli.serve import serve
from limbeck.cli.site import site
from limbeck.cli.train import list_things, train
from limbeck.cli.traverse import traverse
from limbeck.console import echo, forgive_encodings
from limbeck.errors import InputNote, LimbeckError
from limbeck.optional_deps import missing


def print_version(requested: bool) -> None:
    """Print the version and exit, if ``--version`` is given."""
    if requested:
        echo(f"limbeck {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="limbeck",
    help="Distil large vision-language models into small ones for image-text search.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def every_verb(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=print_version, help="Print the version and exit."
    ),
    code: list[Path] = typer.Option(
        [],
        "--code",
        help="Python file that defines a model's tower or lift class; it runs when a model needs it.",
    ),
) -> None:
    """Distil large vision-language models into small ones for image-text search."""
    if code:
        from limbeck.plugins import trust_code

        for file in code:
            trust_code(file)


app.command("demo")(demo)
app.add_typer(data_app, name="data")
app.command("train")(train)
app.command("list")(list_things)
app.command("doctor")(doctor)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("grid")(grid)
app.command("reproduce")(reproduce)
app.command("cache")(cache)
app.command("encode")(encode)
app.command("compress")(compress)
app.command("export")(export_model)
app.command("distil-text")(distil_text)
index_app.command()(add)
index_app.command()(sync)
index_app.command()(remove)
index_app.command()(compact)
index_app.command()(export)
index_app.command()(push)
app.add_typer(index_app, name="index")
app.command("search")(search)
app.command("traverse")(traverse)
app.command("serve")(serve)
app.command("site")(site)
refuse_repeats(app)


def main() -> None:
    """Run the command line.

    The exit status is 0 on success, 1 after a failure (printed as one line that ends with its code), 2 on
    bad usage, 75 after a training that SIGTERM stopped (143 where nothing was saved), and 130 after an
    interrupt.
    """
    forgive_encodings()
    warnings.showwarning = _show_warning
    try:
        app()
    except LimbeckError as error:
        echo(f"limbeck: {error.line()}", err=True)
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        known = missing(error)
        if known is None:
            raise
        echo(f"limbeck: {known.line()}", err=True)
        raise SystemExit(1) from None
    except OSError as error:  # such as a name that is too long, or a missing permission
        if error.filename is None:
            raise
        echo(f"limbeck: {error.filename}: {error.strerror}; choose another path [E-PATH-SYSTEM]", err=True)
        raise SystemExit(1) from None
    except SystemExit as leaving:
        # Typer turns an interrupt that no verb handles into a silent exit.
        if leaving.__context__ and isinstance(leaving.__context__.__cause__, KeyboardInterrupt):
            echo("limbeck: interrupted", err=True)
        raise


_show = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a note on an input as one line without its code location; leave other warnings unchanged."""
    if issubclass(category, InputNote):
        echo(f"limbeck: note: {message}", err=True)
    else:
        _show(message, category, filename, lineno, file, line)
