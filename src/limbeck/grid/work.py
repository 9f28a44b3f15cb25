"""Perform one task: train (or resume); for a row, also evaluate and write its small JSON file."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from limbeck.errors import LimbeckError
from limbeck.evaluation.results import Result
from limbeck.files import write_atomic
from limbeck.grid.rows import row_name
from limbeck.training.choice import choose
from limbeck.training.recipe import Recipe
from limbeck.typed import Json, map_leaves


@dataclass(frozen=True)
class Work:
    """The description of a task for a worker: plain data that can be sent to another process.

    Attributes:
        name: name of the task.
        kind: as for `limbeck.grid.tasks.Task`.
        folder: folder of the run.
        recipe: the resolved recipe.
        label: name in tables.
        about: stored in the result's settings under ``grid``: names of grid and row, hash, chosen settings.
        rows: folder of the rows' small files.
        extra_protocols: additional protocols; each result has a separate file.
        ceiling: for hash codes, also learn codes from the labels.
        probe: also fit a linear probe.
        bits: prefix lengths to evaluate; each result has a separate file.
        by_label: also compute the mAP of each label; a tuple names the unseen labels.
        exact_words: also evaluate the exact-words control; its result has a separate file.
    """

    name: str
    kind: Literal["prepare", "trial", "row"]
    folder: Path
    recipe: dict[str, Json]
    label: str
    about: dict[str, Json] = field(default_factory=dict)
    rows: Path = Path()
    extra_protocols: tuple[str, ...] = ()
    ceiling: bool = True
    probe: bool = False
    bits: tuple[int, ...] = ()
    by_label: bool | tuple[str, ...] = False
    exact_words: bool = False


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task.

    Attributes:
        summary: the main scores in words.
        error: why it failed; None if it succeeded.
        diverged: whether a loss or gradient was not finite.
        score: validation score; None without validation.
        seconds: duration.
    """

    summary: str = ""
    error: str | None = None
    diverged: bool = False
    score: float | None = None
    seconds: float = 0.0


def perform(work: Work, *, quiet: bool = True) -> Outcome:
    """Perform one task; an error becomes part of the outcome and is not raised.

    Raises:
        limbeck.training.fit.Interrupted, KeyboardInterrupt: the task was stopped; training saved its state.
    """
    from limbeck.training.fit import Interrupted

    began = time.monotonic()
    try:
        summary, score = _perform(work, quiet)
    except LimbeckError as error:
        diverged = any(work.folder.glob("stages/*/not-finite-*"))
        return Outcome(error=error.line(), diverged=diverged, seconds=time.monotonic() - began)
    except Interrupted:
        raise
    except Exception as error:
        log = work.folder.parent / "logs" / f"{work.folder.name}.log"
        write_atomic(log, traceback.format_exc())
        first = (str(error).strip().splitlines() or ["no message"])[0]
        return Outcome(error=f"{type(error).__name__}: {first} (see {log})", seconds=time.monotonic() - began)
    return Outcome(summary, score=score, seconds=time.monotonic() - began)


def _perform(work: Work, quiet: bool) -> tuple[str, float | None]:
    from limbeck.training import train
    from limbeck.training.folder import is_run

    recipe = Recipe.model_validate(work.recipe)
    train(recipe, out=work.folder, resume=is_run(work.folder), quiet=quiet)
    score = choose(work.folder, recipe).score
    if work.kind != "row":
        return "trained" if score is None else f"validation {score:.4f}", score
    return _evaluate(work), score


def _evaluate(work: Work) -> str:
    from limbeck.evaluation.run import evaluate

    options: dict[str, Any] = {"label": work.label, "ceiling": work.ceiling, "by_label": bool(work.by_label)}
    if isinstance(work.by_label, tuple):
        options["unseen"] = work.by_label

    def measure(name: str, **how: Any) -> Result:
        result = evaluate(work.folder, **options, **how)
        result = result.model_copy(update={"settings": result.settings | {"grid": work.about}})
        if name == work.name:
            result.save(work.folder / "result.json")
        write_row(work.rows / f"{name}.json", result)
        return result

    for protocol in work.extra_protocols:
        measure(row_name(work.name, protocol), protocol=protocol)
    for bits in work.bits:
        measure(row_name(work.name, bits=bits), bits=bits)
    if work.exact_words:
        measure(row_name(work.name, exact_words=True), exact_words=True)
    return in_words(
        measure(work.name, probe=work.probe)
    )  # this file comes last: it marks the row as finished


def write_row(file: Path, result: Result) -> None:
    """Write the small file of a result: no per-query values, curves with 5 decimals, no absolute paths.

    ``settings.fingerprint`` and ``settings.items`` still identify the data.
    """
    curves = {
        direction: {name: [round(value, 5) for value in values] for name, values in by_name.items()}
        for direction, by_name in result.curves.items()
    }
    small = {
        "per_query": {},
        "curves": curves,
        "run": Path(result.run).name,
        "settings": map_leaves(result.settings, _name),
    }
    result.model_copy(update=small).save(file)


def _name(value: object) -> object:
    """Return the last part of an absolute path, and any other value as it is."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def in_words(result: Result) -> str:
    """Format the main metric of both directions."""
    metrics = {way: values for way, values in result.metrics.items() if way in ("i2t", "t2i")}
    names = [name for values in metrics.values() for name in values]
    name = next((n for n in ("r@10", "map", *names) if n in names), None)
    if name is None:
        return "evaluated"
    return ", ".join(f"{way} {name} {values[name]:.3f}" for way, values in metrics.items() if name in values)
