"""``limbeck data``: generate scenes, import data sets and check them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.data_import import import_app
from limbeck.cli.outputs import writes
from limbeck.console import echo
from limbeck.errors import LimbeckError

data_app = typer.Typer(
    name="data",
    help="Generate, import and check data sets (pairs directories).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
data_app.add_typer(import_app)


@data_app.command("scenes")
def scenes(
    out: Annotated[Path, typer.Argument(help="Directory to create.")],
    n: Annotated[int, typer.Option("--n", "-n", help="Number of scenes.")] = 6000,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Width and height of the pictures in pixels.")] = 64,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing directory.")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also score the trivial baselines.")] = False,
) -> None:
    """Generate a data set of small pictures with captions, tags, labels, and splits."""
    from limbeck.data.synthetic.generate import generate_scenes

    with _progress("scenes") as progress:
        generate_scenes(out, n, seed, size=size, replace=replace, progress=progress)
    echo(f"{out}: {n:,} scenes of {size} pixels, seed {seed}")
    if baselines:
        from limbeck.data.pairs import Pairs
        from limbeck.data.synthetic.baselines import BASELINES, baseline_recall

        for name, describe in BASELINES.items():
            recall = baseline_recall(Pairs.open(out), describe)
            echo(f"ridge from {name}: R@1 i2t {recall['i2t']:.1f} %, t2i {recall['t2i']:.1f} %")


@data_app.command("check")
@writes("json_file")
def check(
    directory: Annotated[Path, typer.Argument(help="Pairs directory.", metavar="DIR")],
    protocol: Annotated[str | None, typer.Option(help="Also check this protocol's splits and leaks.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every problem to this JSON file.")
    ] = None,
) -> None:
    """Check a pairs directory for faults.

    The check finds missing, unreadable and duplicate pictures, empty texts, and faults of labels, features
    and splits. It exits with status 1 if there are errors; warnings and notes do not count.
    """
    from limbeck.data.check import check_pairs
    from limbeck.data.pairs import Pairs
    from limbeck.data.protocols import load_protocol
    from limbeck.files import write_json

    pairs = Pairs.open(directory, strict=False)
    rules = None if protocol is None else load_protocol(protocol)
    with _progress("pictures") as progress:
        report = check_pairs(pairs, rules, progress)
    if json_file is not None:
        write_json(json_file, report.to_json())
    for line in report.lines():
        echo(line)
    if report.number("error"):
        raise LimbeckError(
            f"{directory}: {report.number('error')} kinds of errors; correct them and check again",
            code="E-DATA-FAULTS",
        )


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error until the work ends; stay silent unless that is a terminal."""
    from rich.progress import Progress

    from limbeck.console import console as make_console

    console = make_console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
