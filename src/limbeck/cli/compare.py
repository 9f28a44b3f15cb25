"""``limbeck compare``: compare runs and seeds in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo


@writes("json", "figure")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories or result files.")],
    base: Annotated[str | None, typer.Option(help="Method to compare the others with.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Compare only results of this protocol, if runs have several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table and plots to this directory.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the curves to this .png or .svg file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this JSON file.")] = None,
) -> None:
    """Compare runs and seeds in one table.

    The table shows the mean, the standard deviation, and the paired differences from --base with their
    confidence intervals. Results of different protocols are refused.

    Runs that recorded their cost are also compared at equal samples and at equal wall-clock time. --figure
    draws the validation score against both; for hash codes it also draws mAP by bits, precision-recall and
    P@N curves.
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
