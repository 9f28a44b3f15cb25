"""``limbeck doctor``: explain what went wrong in a run, or check this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo


@writes("json")
def doctor(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory, finished or not; default: check this machine.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Also write the findings to this file.")] = None,
) -> None:
    """Say what looks wrong in a run and what to change, the most likely cause first.

    Without a run, check this machine: versions, extras, torch, threads, fork safety, memory and disk.
    """
    if run is None:
        from limbeck.checkup import check_machine

        lines, record = (found := check_machine()).lines(), found.to_json()
    else:
        from limbeck.training.doctor import examine

        lines, record = (diagnosis := examine(run)).lines(), diagnosis.to_json()
    for line in lines:
        echo(line)
    if json is not None:
        from limbeck.files import write_json

        write_json(json, record)
