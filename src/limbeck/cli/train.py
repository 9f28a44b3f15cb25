"""``limbeck train`` trains a recipe, and ``limbeck list`` lists what limbeck contains."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo
from limbeck.signals import Terminated, raises_at_sigterm
from limbeck.typed import Json


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="Recipe name or YAML file; with --resume it may be left out.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides, key=value …, such as lift.bits=16 seed=1.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Pairs directory (data.pairs of the recipe).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run directory; default: runs/<recipe>-s<seed>.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the newest checkpoint in --out.")
    ] = False,
    changed_data: Annotated[
        bool,
        typer.Option(
            "--changed-data",
            help="With --resume: accept pictures or features that changed since the run began.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build everything, run two steps, print the cost, keep nothing.")
    ] = False,
    dry_batch: Annotated[
        int | None,
        typer.Option(
            min=4, help="Pairs per step of the dry run; the figures are scaled to the recipe's batch."
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="Print parameters, operations, memory and hours on this GPU (h100, a100 …) from the "
            "configurations, without weights and data.",
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write a trace of ten steps and print where the time goes.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor settings.")] = False,
) -> None:
    """Train the stages of a recipe one after the other, and save the model of the last one.

    A recipe with choose saves the stage with the best validation score instead.

    --dry-run prints the number of parameters, the floating-point operations per step, memory and time.
    Without --data it uses generated input. SIGTERM and Ctrl-C save the state; the exit status is then 75 or
    130.
    """
    from limbeck.errors import LimbeckError
    from limbeck.notices import is_first
    from limbeck.training.choice import choose
    from limbeck.training.dry_run import dry_run as rehearse
    from limbeck.training.fit import Interrupted
    from limbeck.training.folder import is_run
    from limbeck.training.recipe import load_recipe, parse_override, recorded_recipe
    from limbeck.training.run import default_run
    from limbeck.training.run import train as run_training
    from limbeck.training.stages import stage_facts, told_sizes

    changes: dict[str, Json] = {}
    if resume and recipe is not None and "=" in recipe and not Path(recipe).is_file():
        overrides, recipe = [recipe, *(overrides or [])], None
    for key, value in map(parse_override, overrides or []):
        if key in changes:
            raise LimbeckError(f"{key}: is given twice; keep one", code="E-OPTION-REPEATED")
        changes[key] = value
    source: str | dict[str, Json] | None = recipe
    if source is None:
        if not (resume and out is not None):
            raise LimbeckError(
                "train: there is no recipe; name one of limbeck list recipes, or give --resume and --out RUN",
                code="E-OPTION-MISSING",
            )
        if not is_run(out):
            raise LimbeckError(
                f"{out}: holds no run to resume; give the --out of a run, or a recipe", code="E-RUN-MISSING"
            )
        source = recorded_recipe(out)
    if data is not None:
        changes["data.pairs"] = str(data.resolve())
    resolved = load_recipe(source, changes)
    if gpu is not None:
        from limbeck.training.estimate import estimate

        for line in estimate(resolved, gpu):
            echo(line)
        return
    if dry_run:
        for line in rehearse(resolved, dry_batch):
            echo(line)
        return
    run = out or default_run(resolved)
    try:
        with raises_at_sigterm():
            run_training(
                resolved, out=run, resume=resume, changed_data=changed_data, quiet=quiet, profile=profile
            )
    except (Interrupted, KeyboardInterrupt) as stopped:
        terminated = isinstance(stopped, Terminated) or (
            isinstance(stopped, Interrupted) and stopped.signal == signal.SIGTERM
        )
        if not is_run(run):
            if terminated:
                raise typer.Exit(128 + signal.SIGTERM) from None
            raise
        if is_first():
            echo(
                f"limbeck: stopped; the state is saved; resume with: limbeck train --resume --out {run}",
                err=True,
            )
        raise typer.Exit(TO_RESUME if terminated else 130) from None
    if is_first():
        sizes = told_sizes(stage_facts(run, resolved)[choose(run, resolved).stage.name])
        echo(f"{run}: done, {sizes}; evaluate it with: limbeck evaluate {run}")


TO_RESUME = 75
"""Exit status after SIGTERM (EX_TEMPFAIL of sysexits.h): the state is saved, and a scheduler can requeue."""


@writes("json")
def list_things(
    what: Annotated[str, typer.Argument(help="recipes, grids, protocols or methods.")],
    json: Annotated[Path | None, typer.Option("--json", help="Also write the list to this file.")] = None,
) -> None:
    """List the recipes, grids, protocols or methods that limbeck contains."""
    from limbeck.errors import LimbeckError

    if what == "recipes":
        from limbeck.training.recipe import FOLDER, list_recipes, load_recipe

        rows = [(name, load_recipe(FOLDER / f"{name}.yaml").note) for name in list_recipes()]
    elif what == "grids":
        from limbeck.grid import find_grid, list_grids, read_grid

        rows = [(name, read_grid(find_grid(name)).note) for name in list_grids()]
    elif what == "protocols":
        from limbeck.data.protocols import list_protocols, load_protocol

        rows = [
            (name, f"{(p := load_protocol(name)).task}, {p.hash[:12]}  {p.note}") for name in list_protocols()
        ]
    elif what == "methods":
        from limbeck.methods import METHODS

        rows = [(name, (method.__doc__ or "").split("\n")[0]) for name, method in METHODS.items()]
    else:
        raise LimbeckError(
            f"list: the kind {what!r} is unknown; choose recipes, grids, protocols or methods",
            code="E-OPTION-CHOICE",
        )
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        echo(f"{name:<{width}}  {' '.join(text.split())}".rstrip())
    if json is not None:
        from limbeck.files import write_json

        write_json(json, [{"name": name, "note": text} for name, text in rows])
