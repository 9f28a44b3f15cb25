"""``limbeck index engine``: build and measure an approximate engine, or remove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from limbeck.index.measured import Measured


@writes("json_file")
def engine(
    index: Path = typer.Argument(..., help="Index directory."),
    name: str = typer.Option(
        ..., "--engine", help="Engine: ivf, mih, prefix or faiss-… for codes, faiss-… for vectors."
    ),
    params: list[str] = typer.Argument(
        None, metavar="[KEY=VALUE]...", help="Build parameters, such as nlist=4096."
    ),
    queries: Path | None = typer.Option(
        None, "--queries", help="Measure with these queries, .npy (Q, width); default: held-out items."
    ),
    recall: float = typer.Option(0.95, "--recall", help="Recall at which to measure filters."),
    remove: bool = typer.Option(False, "--remove", help="Remove the engine instead."),
    json_file: Path | None = typer.Option(None, "--json", help="Also write the measurements to this file."),
) -> None:
    """Build an approximate engine over all items, measure its recall and time, and store both.

    Items that you add later are searched exactly until you build the engine again.
    """
    from dataclasses import asdict

    from limbeck.files import write_json
    from limbeck.index.ann_index import remove_derived
    from limbeck.index.arrays import open_queries
    from limbeck.index.calibration import build_engine
    from limbeck.index.store import IndexStore

    if remove:
        remove_derived(index, name)
        echo(f"{index}: engine {name} removed")
        return
    store = IndexStore.open(index)
    points = None if queries is None else open_queries(queries)
    derived = build_engine(store, name, _parsed(params or []), points, recall=recall)
    measured = derived.measured
    assert measured is not None  # build_engine stored it
    echo(f"{name} over {derived.rows:,} items: {derived.seconds:.1f} s, {derived.bytes / 1e6:,.1f} MB")
    _print_measured(measured)
    echo(f"try: limbeck search {index} … --engine auto --recall {recall:g}")
    if json_file is not None:
        about = {
            "engine": name,
            "options": derived.options,
            "seconds": derived.seconds,
            "bytes": derived.bytes,
        }
        write_json(json_file, {**about, "measured": asdict(measured)})


def _parsed(params: list[str]) -> dict[str, int]:
    values = {}
    for param in params:
        name, sign, value = param.partition("=")
        if not sign or not value.lstrip("-").isdigit():
            raise LimbeckError(
                f"{param}: is not KEY=VALUE with a whole number; write for example nlist=4096",
                code="E-OPTION-FORM",
            )
        values[name] = int(value)
    return values


def _print_measured(measured: Measured) -> None:
    """Print recall and time for each number of hits: one line per set of parameters, and one for exact."""
    from rich import box
    from rich.table import Table

    from limbeck.console import console

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("parameters")
    ks = list(measured.exact_ms)
    for k in ks:
        table.add_column(f"recall@{k}", justify="right")
        table.add_column("ms per query", justify="right")
    for entry in measured.entries:
        cells = [" ".join(f"{name}={value}" for name, value in entry.params.items()) or "-"]
        for k in ks:
            cells += [f"{entry.recall[k][0]:.4f}", f"{entry.ms[k]:.3g}"]
        table.add_row(*cells)
    table.add_row("exact", *(cell for k in ks for cell in ("1.0000", f"{measured.exact_ms[k]:.3g}")))
    console().print(table)
    share = measured.exact_below
    if share < 1:
        echo(f"filters that pass less than {share:.1%} of the items are searched exactly")
    else:
        echo("filtered queries are searched exactly: the engine answered no filter faster")
