"""``limbeck reproduce``: measure recorded rows again and compare the new figures with the recorded ones."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import console, echo
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.data.pairs import Pairs
    from limbeck.grid.recorded import Recorded
    from limbeck.grid.repeat import Compared
    from limbeck.reporting.tables import Table


@writes("json")
def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="Recorded table to measure again; default: list all of them.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Number of rows, drawn with --seed; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw of --rows.")] = 0,
    only: Annotated[
        str | None,
        typer.Option(help="Measure only these rows, such as 'clip*,meru-s0'; --rows then draws from them."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Pairs directory, instead of the grid's; for hamming a .npy of features."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the runs; default: runs/reproduce-NAME.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Parallel processes; they share the threads.")] = 1,
    recorded: Annotated[
        Path | None, typer.Option(help="Folder of recorded rows; default: results of the checkout.")
    ] = None,
    grid: Annotated[Path | None, typer.Option(help="Grid file of the rows, if it is not packaged.")] = None,
    tables: Annotated[
        bool, typer.Option("--list", help="List the recorded tables and what they need.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list the rows that would be measured.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this JSON file.")] = None,
) -> None:
    """Measure a recorded table again, or a sample of its rows, and compare it with what was recorded.

    Recorded rows are in the folder results of a checkout. A row is void if its protocol, its data set or the
    code of its metrics has changed; void rows are named and not measured. The exit status is 1 if a figure
    differs by more than the noise or a run fails. After an interrupt the same command continues.
    """
    from limbeck.grid import benchmark
    from limbeck.grid.recorded import Recorded, recorded_folder, recorded_names
    from limbeck.grid.repeat import compare_rows, repeat

    folder = recorded_folder(recorded)
    if tables or name is None:
        found = [Recorded.read(one, folder) for one in recorded_names(folder)]
        console().print(_list(found, benchmark.recorded_rows(folder)).rich())
        return
    target = out or Path("runs") / f"reproduce-{name}"
    failed: dict[str, str] = {}
    if name == benchmark.NAME:
        sample = benchmark.sample(benchmark.recorded_rows(folder), rows, seed, data, only)
        if dry_run:
            return _say([f"{one[0]} on {one[1]}" for one in sample])
        (compared, failed), rule = benchmark.repeat(folder, sample, target, data, echo), benchmark.RULE
    else:
        table = Recorded.read(name, folder, grid)
        pairs = _pairs(table, data)
        for row, why in table.void(pairs).items():
            echo(f"{row}: void: {'; '.join(why)}", err=True)
        chosen = table.sample(rows, seed, pairs, only)
        if dry_run:
            return _say([*chosen, *(f"{row}: left out: {why}" for row, why in table.cannot_run.items())])
        live = jobs == 1 and sys.stderr.isatty()
        try:
            ours, failed = repeat(table, chosen, target, data, jobs=jobs, say=echo, live=live)
        except KeyboardInterrupt:
            echo("limbeck: stopped; the state is saved; the same command continues", err=True)
            raise typer.Exit(130) from None
        compared, rule = compare_rows(table, ours)
    for task, why_not in failed.items():
        echo(f"limbeck: {task}: {why_not}", err=True)
    console().print(_table(name, compared, rule).rich())
    if json is not None:
        drawn = "" if rows is None else f" --rows {rows} --seed {seed}"
        drawn += "" if only is None else f" --only '{only}'"
        _write(json, f"limbeck reproduce {name}{drawn}", compared, rule)
    if failed or any(one.verdict == "differs" for one in compared):
        raise typer.Exit(1)


def _say(lines: list[str]) -> None:
    for line in lines:
        echo(line)


def _pairs(table: Recorded, data: Path | None) -> Pairs | None:
    """Open the given pairs directory, else the one that the grid names if it exists."""
    from limbeck.data.pairs import Pairs

    named = None if table.grid is None else table.grid.data.get("pairs")
    place = data or (Path(named) if isinstance(named, str) and Path(named).is_dir() else None)
    return None if place is None else Pairs.open(place)


def _list(tables: list[Recorded], benchmark: list[dict[str, Json]]) -> Table:
    from limbeck.reporting.tables import Table

    head = ["table", "data set (protocols)", "rows", "seeds", "seconds", "void"]
    lines = [
        [one.name, one.data, str(len(one.rows)), str(one.seeds), f"{one.seconds:.0f}", str(len(one.void()))]
        for one in tables
    ]
    if benchmark:
        lines.append(["hamming", "features (.npy) or none", str(len(benchmark)), "1", "", "–"])
    notes = ["seconds: the median per row, evaluation included; the teachers that a row needs come on top"]
    notes.append("void: rows whose protocol, data set, chains of texts or code of mAP and recall has changed")
    notes += [f"{one.name}: {one.no_grid}" for one in tables if one.grid is None]
    return Table("Recorded tables", head, lines, 2, notes=notes)


def _table(name: str, compared: list[Compared], rule: str) -> Table:
    from limbeck.reporting.tables import Table

    lines = [
        [one.row, one.figure, f"{one.recorded:.4f}", f"{one.ours:.4f}", f"{one.ours - one.recorded:+.4f}",
         "" if one.reach is None else f"{one.reach:.4f}", one.verdict]
        for one in compared
    ]  # fmt: skip
    strong = {(at, 6) for at, one in enumerate(compared) if one.verdict == "differs"}
    head = ["row", "figure", "recorded", "ours", "difference", "noise", "verdict"]
    return Table(f"{name}, measured again", head, lines, 2, strong, notes=[rule])


def _write(file: Path, command: str, compared: list[Compared], rule: str) -> None:
    from limbeck.environment import environment
    from limbeck.files import write_json

    versions, machine = environment()
    lines = [asdict(one) | {"verdict": one.verdict} for one in compared]
    about = {"command": command, "rule": rule, "versions": versions, "machine": machine}
    write_json(file, about | {"rows": lines})
