"""``limbeck demo``: run the whole chain on generated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[
        Path, typer.Option("--out", help="New directory for data, runs, index and report.")
    ] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Run for about a minute, to see that everything works.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed of data and training.")] = 0,
) -> None:
    """Run the whole chain on generated pictures: teacher, student, codes, index, search, report.html."""
    from limbeck.demo import run_demo

    run_demo(out, quick=quick, seed=seed)
