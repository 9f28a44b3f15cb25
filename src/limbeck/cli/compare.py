"""``limbeck compare``: several runs and seeds in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo


@writes("json", "figure")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories or result files.")],
    base: Annotated[str | None, typer.Option(help="Method that the others are compared with.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Only results of this protocol, where runs have several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory for the table and plots.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the curves into this .png or .svg file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures there.")] = None,
) -> None:
    """Put runs and seeds into one table: mean, s.d., and paired differences from --base with their intervals.

    Results of different protocols are refused. Runs that recorded their cost are also compared at equal
    samples and at equal wall-clock; --figure draws validation against both, and for codes mAP by bits, PR
    and P@N.
    """
    from limbeck.console import console
    from limbeck.evaluation.compare import compare as compare_results
    from limbeck.files import write_json
    from limbeck.reporting.comparison import comparison_tables, write_comparison

    comparison = compare_results(runs, base=base, protocol=protocol)
    for table in comparison_tables(comparison):
        console().print(table.rich())
    if figure is not None:
        from limbeck.reporting.progress import write_figure

        write_figure(figure, [result for group in comparison.groups for result in group.results])
    if json is not None:
        write_json(json, comparison.to_json())
    if out is not None:
        for file in write_comparison(out, comparison):
            echo(str(file))
