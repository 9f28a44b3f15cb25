"""``limbeck grid``: train and evaluate the runs and seeds of one file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo

if TYPE_CHECKING:
    from limbeck.evaluation.results import Result
    from limbeck.grid import GridState


@writes("json")
def grid(
    file: Annotated[str, typer.Argument(help="Grid file, or a packaged grid such as hmid_net/grid.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; default: runs/<grid>.")] = None,
    data: Annotated[Path | None, typer.Option(help="Pairs directory, instead of the file's.")] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Run only these rows or runs and what they need, such as 'clip*,meru-s0'."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Parallel processes; they share the threads.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the tasks without running them.")] = False,
    rows: Annotated[
        Path | None,
        typer.Option(help="Folder or .jsonl.xz pack of the rows, instead of the file's rows_to."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures of the table to this file.")] = None,
) -> None:
    """Train and evaluate every row of a grid file for every seed.

    After an interrupt the same command continues: it keeps finished runs and resumes interrupted ones. When a
    row ends, its figures are written to a small JSON file. If the rows go to a pack, these files are merged
    into it when the grid ends. If a run fails, limbeck reports it, continues with the others and exits with
    status 1 at the end.
    """
    from limbeck.grid import GridState, find_grid, read_grid, run_grid
    from limbeck.grid.ahead import check_ahead
    from limbeck.optional_deps import require

    plan = read_grid(find_grid(file))
    place = out or Path("runs") / plan.name.replace("/", "-")
    state = GridState.open(plan, place, only, None if data is None else str(data.resolve()), rows)
    if dry_run:
        for task in state.tasks:
            echo(f"{state.status[task]:<9}  {task.kind:<7}  {task.name}")
        refused = check_ahead(state.remaining, state.status, state.out)
        for task, why in refused.items():
            echo(f"limbeck: {task.name}: {why}", err=True)
        if refused:
            raise typer.Exit(1)
        return
    require("pandas")  # for the table at the end
    live = jobs == 1 and sys.stderr.isatty()
    try:
        failed = run_grid(state, jobs=jobs, say=echo, live=live)
    except KeyboardInterrupt:
        given = (("out", out), ("data", data), ("rows", rows))
        more = "".join(f" --{name} {shlex.quote(str(value))}" for name, value in given if value)
        echo(f"limbeck: stopped; the state is saved; resume with: limbeck grid {file}{more}", err=True)
        raise typer.Exit(130) from None
    for name, why in failed.items():
        echo(f"limbeck: {name}: {why}", err=True)
    results = state.results()
    if results:
        _table(state, json)
        again = comparison_arguments(results, state.grid.base, further=bool(state.grid.extra_protocols))
        place = state.rows.place
        echo(f"{len(results)} rows in {place}; show the table again: limbeck compare {place}{again}")
    if failed:
        raise typer.Exit(1)


def comparison_arguments(results: Sequence[Result], base: str | None, *, further: bool) -> str:
    """Return the options with which `limbeck compare` prints the first table: the base and the protocol."""
    options = ["--base", base] if base in {result.label for result in results} else []
    names = sorted({result.protocol for result in results})
    if further:
        options += ["--protocol", names[0] if len(names) == 1 else f"{names[0].partition('@')[0]}*"]
    return "".join(f" {shlex.quote(str(word))}" for word in options)


def _table(state: GridState, json: Path | None) -> None:
    from limbeck.console import console
    from limbeck.evaluation.compare import compare
    from limbeck.files import write_json
    from limbeck.reporting.comparison import comparison_tables

    tables = []
    for protocol in [None, *state.grid.extra_protocols]:
        results = state.results(protocol)
        labels = {result.label for result in results}  # with --only the base may be missing
        comparison = compare(results, base=state.grid.base if state.grid.base in labels else None)
        tables.append(comparison.to_json())
        for table in comparison_tables(comparison):
            console().print(table.rich())
    if json is not None:
        write_json(json, tables[0] if len(tables) == 1 else tables)
