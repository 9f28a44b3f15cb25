"""``limbeck doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo


@writes("json")
def doctor(
    run: Annotated[Path, typer.Argument(help="Run directory, finished or not.")],
    json: Annotated[Path | None, typer.Option("--json", help="Also write the findings to this file.")] = None,
) -> None:
    """Say what looks wrong in a run and what to change, the most likely cause first."""
    from limbeck.files import write_json
    from limbeck.training.doctor import examine

    found = examine(run)
    for line in found.lines():
        echo(line)
    if json is not None:
        write_json(json, found.to_json())
