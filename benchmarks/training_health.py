"""Eight trainings that are broken on purpose and healthy ones: does ``limbeck doctor`` name the cause?

usage: python benchmarks/training_health.py [--out docs/results/parts/training-health.json] [--only NAME]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

import limbeck
from limbeck.cli.app import app
from limbeck.data.pairs import Pairs
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.files import read_json

SCENES = 900
IMAGE = {"kind": "clip_image", "image_size": 32, "patch_size": 8, "width": 48, "layers": 2, "heads": 3}
TEXT = {"kind": "clip_text", "width": 48, "layers": 1, "heads": 3, "context": 24}
RETRIEVAL: dict[str, Any] = {
    "data": {"protocol": "scenes/retrieval"},
    "compute": {"precision": "32", "threads": 1},
    "towers": {"image": {"backbone": IMAGE}, "text": {"backbone": TEXT}},
    "lift": {"kind": "sphere", "dim": 32},
    "optim": {"lr": 2e-3, "warmup": 0.1},
    "schedule": {"steps": 150, "batch_size": 64, "validate_every": 50, "log_every": 2},
    "stages": {"student": {"method": {"name": "clip"}}},
}
MERU = {"stages": {"student": {"method": {"name": "meru"}}}, "lift": {"kind": "tangent", "dim": 32}}
POLAR = {"kind": "polar", "dim": 32, "radius": 1.0, "max_radius": 2.2}
SODA: dict[str, Any] = {
    "data": {"protocol": "scenes/hashing"},
    "lift": {"kind": "hash", "bits": 16, "theta": 4.0},
    "towers": {"image": {"backbone": IMAGE, "hidden": [64]}, "text": {"backbone": {"kind": "bag"}, "hidden": [64]}},
    "schedule": {"steps": 150, "batch_size": 128},
    "stages": {
        "teacher": {"method": {"name": "soda-teacher"}},
        "student": {"method": {"name": "soda-student"}, "init": {"image": "teacher"}, "freeze": ["image"]},
    },
}  # fmt: skip
DEAD = {
    "stages": SODA["stages"]
    | {"teacher": {"method": {"name": "soda-teacher", "balance": 0.0, "quantization": 20.0}}}
}


@dataclass(frozen=True)
class Case:
    """A training: its cause as the doctor names it ("" = healthy), its recipe, and what breaks its data."""

    name: str
    cause: str
    recipe: dict[str, Any]
    spoil: Callable[[dict[str, list[Any]]], None] | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


def merged(base: Any, change: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    if ("kind" in change and change["kind"] != base.get("kind")) or set(change) == {"teacher", "student"}:
        return change
    return base | {k: merged(base.get(k), v) for k, v in change.items()}


def recipe(*changes: dict[str, Any]) -> dict[str, Any]:
    tree: Any = RETRIEVAL
    for change in changes:
        tree = merged(tree, change)
    return dict(tree)


def rows_of(columns: dict[str, list[Any]], split: str) -> list[int]:
    return [row for row, own in enumerate(columns["split"]) if own == split]


def empty_captions(columns: dict[str, list[Any]]) -> None:
    """Two rows of three lose their captions, as after a download whose texts failed."""
    for row in rows_of(columns, "train"):
        if row % 3:
            columns["captions"][row] = []


def leaking_split(columns: dict[str, list[Any]]) -> None:
    """Half of the training rows are pictures of the test queries, under ids of their own."""
    queries = rows_of(columns, "test") or rows_of(columns, "query")
    for number, row in enumerate(rows_of(columns, "train")[::2]):
        other = queries[number % len(queries)]
        for name in columns.keys() - {"id", "split"}:
            columns[name][row] = columns[name][other]


def one_class(columns: dict[str, list[Any]]) -> None:
    """All rows but ten have one more label, as after an import of a folder ``photos/``."""
    for row in range(10, len(columns["labels"])):
        columns["labels"][row] = [*columns["labels"][row], "photo"]


def stuck_data(columns: dict[str, list[Any]]) -> None:
    """Every row names the first picture, as after a loop that forgot its index."""
    columns["image"] = columns["image"][:1] * len(columns["image"])


CASES = (
    Case("healthy-clip", "", recipe()),
    Case("healthy-meru", "", recipe(MERU)),
    Case("healthy-polar", "", recipe(MERU, {"lift": POLAR})),
    Case("healthy-soda", "", recipe(SODA)),
    Case("rate", "learning rate too high", recipe({"optim": {"lr": 1.0}})),
    Case("radii", "radii collapsed", recipe(MERU, {"stages": {"student": {"method": {"entailment": 20.0}}}})),
    Case("bits", "dead bits", recipe(SODA, DEAD)),
    Case("captions", "empty captions", recipe(), empty_captions),
    Case("leak", "leaking split", recipe(), leaking_split),
    Case("temperature", "temperature at its cap", recipe({"lift": {"max_logit_scale": 10.0}})),
    Case("class", "one class", recipe(SODA), one_class),
    Case("stuck", "stuck data", recipe(), stuck_data),
)


def write_data(folder: Path, scenes: Path, spoil: Callable[[dict[str, list[Any]]], None] | None) -> Path:
    """The scenes, spoilt."""
    if spoil is None or folder.exists():
        return scenes if spoil is None else folder
    pairs = Pairs.open(scenes)
    columns = {name: pairs.table.column(name).to_pylist() for name in pairs.table.column_names}
    spoil(columns)
    names = sorted({label for own in columns["labels"] for label in own})
    kind, root = pairs.media or ("", scenes)
    media = {"kind": kind, "root": str(root)}
    Pairs.write(folder, columns, {"name": pairs.name, "label_names": names, "media": media})
    return folder


def run(case: Case, work: Path, scenes: Path) -> dict[str, Any]:
    """Train a case and ask the doctor."""
    data, place = write_data(work / f"{case.name}-pairs", scenes, case.spoil), work / case.name
    limbeck.train(
        {"name": f"health/{case.name}"} | case.recipe, pairs=data, out=place, quiet=True, resume=True
    )
    asked = CliRunner().invoke(app, ["doctor", str(place), "--json", str(work / "doctor.json")])
    findings = read_json(work / "doctor.json")["findings"] if asked.exit_code == 0 else []
    first = findings[0]["cause"] if findings else ""
    return {
        "case": case.name,
        "broken_by": (case.spoil.__doc__ or "") if case.spoil else "",
        "cause": case.cause,
        "named": first,
        "right": first == case.cause and asked.exit_code == 0,
        "command": f"limbeck doctor {case.name}",
        "printed": asked.stdout.replace(f"{work}/", "").splitlines(),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp())
    work.mkdir(exist_ok=True)
    scenes = work / "scenes"
    if not scenes.exists():
        generate_scenes(scenes, SCENES, 0, size=32)
    rows = []
    for case in CASES:
        if not options.only or case.name in options.only:
            rows.append(run(case, work, scenes))
            print(json.dumps(rows[-1], indent=1), flush=True)
    if options.out:
        options.out.write_text(json.dumps({"scenes": SCENES, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
