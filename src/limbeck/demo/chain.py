"""Run the demo step by step. It shows the pipeline; use grids to rank methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limbeck.console import console, echo
from limbeck.data.pairs import Pairs
from limbeck.data.synthetic.baselines import BASELINES, baseline_recall
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.demo import messages as words
from limbeck.demo.clock import Clock
from limbeck.demo.codes import METHODS, train_codes
from limbeck.demo.models import BESIDE, STUDENTS, TEACHER, plan, run_of, train_model
from limbeck.demo.showcase import show
from limbeck.evaluation import evaluate
from limbeck.files import check_new_directory, write_json
from limbeck.reporting.curves import read_curves
from limbeck.reporting.overview import cost_table, overview_table
from limbeck.reporting.report import write_report
from limbeck.reporting.tables import result_tables


@dataclass(frozen=True)
class Size:
    """The size of the demo; ``epochs`` (least, most) limits what fits into the seconds on this machine."""

    scenes: int
    teacher_seconds: float
    students_seconds: float
    epochs: tuple[int, int]
    steps: int | None
    bits: tuple[int, ...]


FULL = Size(6000, teacher_seconds=60, students_seconds=42, epochs=(6, 40), steps=None, bits=(16, 32, 64))
QUICK = Size(600, teacher_seconds=1, students_seconds=1, epochs=(2, 2), steps=20, bits=(16, 64))


def run_demo(out: Path, *, quick: bool = False, seed: int = 0) -> Path:
    """Run the pipeline into ``out`` and return the path of its report.

    Args:
        out: new or empty directory for scenes, runs, two indexes, ``results.json`` and ``report.html``.
        quick: run a small version of about one minute, to see that everything works.
        seed: seed of data and training.

    Raises:
        LimbeckError: ``out`` is not empty, or the extra ``report`` is not installed.
    """
    check_new_directory(out, fix="choose another --out or remove it")
    size = QUICK if quick else FULL
    runs, scenes = out / "runs", out / "scenes"
    clock = Clock(
        {
            "scenes": 20,
            "teacher": size.teacher_seconds + 5,
            "students": size.students_seconds + 10,
            "hash": 7 * len(size.bits) * len(METHODS),
            "look": 30,
            "report": 5,
        }
    )
    with clock.step("scenes", f"draw {size.scenes} scenes"):
        generate_scenes(scenes, n=size.scenes, seed=7 + seed)
        pairs = Pairs.open(scenes)
        baselines = {name: baseline_recall(pairs, describe) for name, describe in BASELINES.items()}
    large = plan(TEACHER, scenes, pairs, size.teacher_seconds, size.epochs)
    clock.expected["teacher"] = large.seconds + 5
    with clock.step("teacher", f"train the teacher, {large}"):
        teacher = train_model("teacher", TEACHER, run_of(runs, TEACHER), scenes, large, seed)
        continuous = evaluate(teacher.run, protocol="scenes/hashing", label=words.CONTINUOUS)
    each = size.students_seconds / len(STUDENTS)
    small = plan(STUDENTS["CLIP"], scenes, pairs, each, size.epochs, beside=BESIDE)
    clock.expected["students"] = len(STUDENTS) * small.seconds + 10
    with clock.step("students", f"train {', '.join(STUDENTS)} students on equal samples, {small} on average"):
        students = [
            train_model(label, recipe, run_of(runs, recipe), scenes, small, seed, teacher.run)
            for label, recipe in STUDENTS.items()
        ]
    lengths = ", ".join(map(str, size.bits))
    with clock.step(
        "hash",
        f"train hash heads on the teacher's cached features, {len(METHODS)} methods at {lengths} bits",
    ):
        codes = train_codes(runs, scenes, teacher.run, size.bits, size.steps, seed)
        soda = run_of(runs, f"demo/soda-{max(size.bits)}")
        coded = evaluate(soda, protocol="scenes/retrieval", label=words.SODA)
    models = [teacher, *students]
    with clock.step("look", "build two indexes over the test pictures, search, go from pictures to the root"):
        shown = show(out, pairs, {model.label: model.run for model in models} | {words.SODA: soda})
    with clock.step("report", "write the report"):
        retrieval, results = [*(model.result for model in models), coded], [continuous, *codes]
        costs = cost_table([model.cost for model in models])
        overview = overview_table(retrieval, words.colour_columns(shown.colours, retrieval))
        overview.notes.append(words.colour_note(shown.colours))
        write_json(
            out / "results.json",
            [r.model_dump(mode="json", exclude={"per_query", "curves"}) for r in (*results, *retrieval)],
        )
        report = write_report(
            out / "report.html",
            title="limbeck demo: one set of pictures, three geometries",
            results=results,
            retrieval=retrieval,
            overview=[overview, costs],
            curves={run.name: read_curves(run) for run in (*(model.run for model in models), soda)},
            searches=shown.searches,
            ways=shown.ways,
            disks={label: places.disk for label, places in shown.places.items()},
            disk_colors=words.COLORS,
            radii={label: places.radii for label, places in shown.places.items()},
            facts=words.facts(pairs, large, small, clock.seconds, seed),
            commands=words.commands(out, runs, size.bits),
            notes=words.notes(baselines, retrieval),
        )
    for table in (overview, costs, *result_tables(results)):
        console().print(table.rich())
    echo(f"\nreport: {report}   ({clock.seconds / 60:.1f} min)\nnext:")
    for command in words.commands(out, runs, size.bits):
        echo(f"  {command}")
    return report
