"""Read a run directory and name what looks wrong, the most likely cause first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from limbeck.data.check import Finding as CheckFinding
from limbeck.data.check import Report, check_pairs
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.plugins import own_name
from limbeck.tables import split_lines
from limbeck.training.folder import is_run
from limbeck.training.recipe import Recipe, StageConfig, load_recipe, method_config, recorded_recipe
from limbeck.training.symptoms import RULES, Finding, Log
from limbeck.typed import Json

MOST_PICTURES = 20_000
"""Rows up to which the pictures of the data set are compared."""
_FEW = 0.05
"""Share of rows without a text, or of queries with a copy in train, from which it is a cause."""


@dataclass
class Diagnosis:
    """The faults that `limbeck doctor` found in a run.

    Attributes:
        run: the run directory.
        stages: stage → the number of its last logged step.
        findings: the faults, the most certain one first.
        notes: what could not be checked, and why.
    """

    run: str
    stages: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the diagnosis as text."""
        steps = ", ".join(f"stage {name} to step {step:,}" for name, step in self.stages.items())
        if not self.findings:
            head = f"{self.run}: nothing looks wrong ({steps})"
        else:
            head = f"{self.run}: {self.findings[0].cause} ({steps})"
        lines = [head]
        for number, one in enumerate(self.findings, start=1):
            place = f" (stage {one.stage})" if one.stage else ""
            lines += [f"{number}. {one.cause}{place}", f"   seen: {one.seen}", f"   change: {one.change}"]
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"format": "limbeck.doctor/1", **asdict(self)}


def examine(run: Path) -> Diagnosis:
    """Read logs, recipe and data of a run, finished or not.

    Raises:
        LimbeckError: the directory is no run, or its recipe cannot be read.
    """
    if not is_run(run):
        raise LimbeckError(f"{run}: holds no run; give the --out of limbeck train", code="E-RUN-MISSING")
    recipe = load_recipe(recorded_recipe(run), code=False)
    found = Diagnosis(str(run))
    for stage in recipe.stages.values():
        log = read_log(run, stage)
        if log is None:
            found.notes.append(f"stage {stage.name} has logged no step")
            continue
        found.stages[stage.name] = int(log.values("step")[-1]) if len(log.rows) else 0
        found.findings += [replace(one, stage=stage.name) for rule in RULES for one in rule(log)]
    found.findings += data_faults(recipe, found.notes)
    found.findings = _ranked(found.findings)
    return found


def _ranked(findings: list[Finding]) -> list[Finding]:
    """Sort by certainty; of several findings with one cause, keep the most certain one."""
    ranked: dict[str, Finding] = {}
    for one in sorted(findings, key=lambda one: -one.certainty):
        ranked.setdefault(one.cause, one)
    return list(ranked.values())


def read_log(run: Path, stage: StageConfig) -> Log | None:
    """Return the log of a stage; None where it has not begun.

    Raises:
        LimbeckError: a line other than the last is not JSON.
    """
    folder = run / "stages" / stage.name
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return None
    rows = []
    lines = split_lines(file.read_text(encoding="utf-8"))
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise LimbeckError(
                    f"{file}: line {number} is not valid JSON; remove it", code="E-JSON-SYNTAX"
                ) from None
    stopped = None
    for kept in sorted(folder.glob("not-finite-*/batch.json")):
        facts = read_json(kept)
        stopped = f"{facts['bad']} was not finite at step {facts['step']}"
    config = method_config(stage)[1] if own_name(stage.method["name"]) is None else None
    epoch_steps = _epoch_steps(folder, stage)
    return Log.of(stage, stage.lift, config, rows=rows, stopped=stopped, epoch_steps=epoch_steps)


def _epoch_steps(folder: Path, stage: StageConfig) -> int | None:
    file = folder / "done.json"
    rows = read_json(file).get("rows") if file.is_file() else None
    return None if rows is None else int(rows) // min(stage.schedule.batch_size, int(rows))


def data_faults(recipe: Recipe, notes: list[str]) -> Iterator[Finding]:
    """Yield the faults of the data set of a run; say in ``notes`` what could not be checked."""
    place = recipe.data.pairs
    if place is None or not Path(place).is_dir():
        notes.append(f"the data set {place} is not here; its texts, labels and splits were not checked")
        return
    try:
        pairs, protocol = Pairs.open(place, strict=False), load_protocol(recipe.data.protocol)
    except LimbeckError as error:
        notes.append(f"the data set was not checked: {error}")
        return
    command = f"limbeck data check {place} --protocol {recipe.data.protocol}"
    pictures = len(pairs) <= MOST_PICTURES
    if not pictures:
        notes.append(f"the pictures were not compared ({len(pairs):,} rows); type: {command}")
    yield from faults_of(check_pairs(pairs, protocol, pictures=pictures), protocol.text.column, command)


def faults_of(report: Report, column: str, command: str) -> Iterator[Finding]:
    """Yield the findings of a data check that explain a bad training."""
    found = {finding.kind: finding for finding in report.findings}
    rows = max(1, report.rows)
    empty = found.get(f"empty_{column}")
    if empty is not None and empty.count > _FEW * rows:
        yield Finding(
            "empty captions" if column == "captions" else f"empty {column}",
            0.85,
            f"{empty.count:,} of {rows:,} rows have no text in the column {column}",
            f"import the data with their {column}, or leave these rows out; see: {command}",
        )
    leaks = found.get("leaks_train")
    if leaks is not None and leaks.count >= 3:
        yield Finding(
            "leaking split",
            0.88,
            f"{leaks.count:,} test queries show a picture that train has too, so that scores are too high",
            f"put copies of one picture into one split; see: {command}",
        )
    same = max((len(ids) for ids in _groups(found.get("exact_duplicates"))), default=0)
    if same > 0.2 * rows:
        yield Finding(
            "stuck data",
            0.97,
            f"{same:,} of {rows:,} rows show the same picture",
            f"check the picture names of the table and the import; see: {command}",
        )
    relevant = report.relevance
    if relevant is not None and relevant.covers > 0.9:
        yield Finding(
            "one class",
            0.93,
            f"{relevant.covers:.0%} of the rows have the label {relevant.label!r}: nearly all pairs "
            "are similar",
            "import the data without this label, or add rows of other classes",
        )
    for kind in ("missing_pictures", "unreadable_pictures", "features", "nothing_relevant"):
        if kind in found:
            one = found[kind]
            yield Finding("damaged data", 0.6, f"{one.count:,} {one.what}", f"correct them; see: {command}")


def _groups(finding: CheckFinding | None) -> list[list[Json]]:
    return [] if finding is None else [group for group in finding.items if isinstance(group, list)]
