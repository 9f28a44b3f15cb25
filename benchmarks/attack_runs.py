"""Is a training ever lost or spoiled? Trainings and grids are killed at random moments, and gone on with.

    python benchmarks/attack_runs.py [--train 24] [--grid 12] [--jobs 4] [--seed 0] [--out FILE]

Each victim gets SIGKILL after a random time, is started again the same way, and is killed again; at the end it is
left alone. Then its weights must be those of a run that nobody touched, byte for byte, and so must what it logged.
Between the kills no finished stage and no state may disappear. Victims are forked from one process that has imported
torch already, on generated scenes and tiny towers; `--jobs` kills the parent of a grid with two workers from the command
line, and looks for workers that outlive it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from limbeck.data.synthetic.generate import generate_scenes
from limbeck.data.yaml_files import yaml_text
from limbeck.files import read_json, write_json
from limbeck.grid import GridState, read_grid, run_grid
from limbeck.training import train
from limbeck.training.folder import is_free, is_run

STEPS = 40
_SAME = ("model/model.safetensors", "stages/*/metrics.jsonl", "stages/*/model/model.safetensors")


def recipe(scenes: Path) -> dict[str, Any]:
    """Two stages of tiny towers, a state every three steps."""
    image = {"kind": "clip_image", "image_size": 16, "patch_size": 4, "width": 16, "layers": 1, "heads": 2}
    text = {"kind": "clip_text", "context": 8, "width": 16, "layers": 1, "heads": 2}
    return {
        "name": "attack",
        "data": {"pairs": str(scenes), "protocol": "scenes/retrieval"},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "cache": False,
        "lift": {"kind": "polar", "dim": 8, "radius": 1.0, "max_radius": 2.2},
        "towers": {"image": {"backbone": image}, "text": {"backbone": text}},
        "schedule": {
            "steps": STEPS, "batch_size": 8, "validate_every": 7, "checkpoint_every": 3, "log_every": 1,
        },
        "stages": {
            "one": {"method": {"name": "meru"}},
            "two": {"method": {"name": "meru"}, "init": {"image": "one"}, "freeze": ["image"]},
        },
    }  # fmt: skip


def grid(scenes: Path) -> dict[str, Any]:
    """A teacher, two rows that start from it, two seeds."""
    whole = recipe(scenes)
    one = whole | {"stages": {"one": whole["stages"]["one"]}}
    start = {"init": {"image": "$first"}, "freeze": ["image"]}
    two = whole | {"stages": {"two": whole["stages"]["two"] | start}}
    return {
        "name": "attack",
        "seeds": [0, 1],
        "ceiling": False,
        "prepare": {"first": {"recipe": one, "seeds": "each"}},
        "rows": {"plain": {"recipe": two}, "faster": {"recipe": two, "set": {"optim.lr": 0.005}}},
    }


@dataclass
class Counts:
    """What was done, and what was found."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    runs: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "kills": dict(self.kills),
            "in_all": self.kills.total(),
            "killed_while": dict(self.moments),
            "runs_compared": self.runs,
            "faults": self.faults,
        }


def standing(folder: Path) -> dict[str, tuple[int, int]]:
    """Of every run below a folder: finished stages, and the newest state's step; they never go back."""
    found = {}
    for run in (folder, *(file.parent for file in folder.rglob("recipe.yaml"))):
        if is_run(run):
            done = len(list(run.glob("stages/*/done.json")))
            steps = [int(state.name.split("-")[1]) for state in run.glob("stages/*/state-*")]
            found[str(run)] = (done + 100 * (run / "run.json").is_file(), max(steps, default=0))
    return found


def moment(folder: Path) -> str:
    """What a kill met."""
    runs = [run for run in (folder, *folder.iterdir()) if is_run(run)] if folder.is_dir() else []
    if not runs:
        return "before a run stood"
    if all((run / "run.json").is_file() for run in runs):
        return "after training"
    if any(path.name.endswith(".tmp") for run in runs for path in run.rglob(".*")):
        return "in a half-written file or directory"
    return "between two stages" if not any(run.glob("stages/*/state-*") for run in runs) else "in a stage"


def fork(work: Callable[[], None]) -> int:
    """The number of a process that does some work and ends with status 0."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        work()
        status = 0
    finally:
        os._exit(status)


def attack(
    kind: str,
    work: Callable[[], None],
    folder: Path,
    kills: int,
    seconds: float,
    rng: random.Random,
    counts: Counts,
) -> None:
    """Kill some work so often, if it does not end before, and then let it end."""
    before: dict[str, tuple[int, int]] = {}
    for left in range(kills, -1, -1):
        child = fork(work)
        if left:
            time.sleep(rng.uniform(0.0, 0.8 * seconds))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            counts.kills[kind] += 1
            counts.moments[moment(folder)] += 1
        elif os.WEXITSTATUS(status):
            counts.faults.append(f"{kind} {folder.name}: could not go on")
            return
        now = standing(folder)
        lost = [run for run, stood in before.items() if now.get(run, (-1, 0)) < stood]
        counts.faults += [f"{kind} {run}: a finished stage or a state is gone" for run in lost]
        before = now


def compare(kind: str, one: Path, whole: Path, counts: Counts) -> None:
    """A finished run with one that nobody touched."""
    counts.runs += 1
    for pattern in _SAME:
        files = sorted(file.relative_to(whole) for file in whole.glob(pattern))
        for file in files:
            if not (one / file).is_file() or (one / file).read_bytes() != (whole / file).read_bytes():
                counts.faults.append(f"{kind} {one.name}: {file} differs")
    left = [path for path in one.rglob("*") if path.name.startswith((".", "state-"))]
    counts.faults += [f"{kind} {one.name}: {path.relative_to(one)} is left" for path in left]


def attack_train(place: Path, kills: int, seed: int, counts: Counts) -> None:
    """Runs of three kills each."""
    rules, rng = recipe(place / "scenes"), random.Random(seed)
    began = time.monotonic()
    os.waitpid(fork(lambda: _train(rules, place / "whole")), 0)
    seconds = time.monotonic() - began
    number = 0
    while counts.kills["train"] < kills and number < 3 * kills:
        out = place / f"run-{number}"
        want = min(3, kills - counts.kills["train"])
        attack("train", lambda out=out: _train(rules, out), out, want, seconds, rng, counts)
        compare("train", out, place / "whole", counts)
        number += 1


def _train(rules: dict[str, Any], out: Path) -> None:
    if not (is_run(out) or is_free(out)):
        raise SystemExit(2)
    train(rules, out=out, resume=is_run(out), quiet=True)


def attack_grid(place: Path, kills: int, seed: int, counts: Counts) -> None:
    """Grids of six kills each, one task at a time."""
    file, rng = place / "grid.yaml", random.Random(seed + 1)
    began = time.monotonic()
    os.waitpid(fork(lambda: _grid(file, place / "grid-whole")), 0)
    seconds = time.monotonic() - began
    number = 0
    while counts.kills["grid"] < kills and number < 3 * kills:
        out = place / f"grid-{number}"
        want = min(6, kills - counts.kills["grid"])
        attack("grid", lambda out=out: _grid(file, out), out, want, seconds, rng, counts)
        compare_grids("grid", out, place / "grid-whole", counts)
        number += 1


def _grid(file: Path, out: Path) -> None:
    if run_grid(GridState.open(read_grid(file), out), say=lambda line: None):
        raise SystemExit(2)


def compare_grids(kind: str, one: Path, whole: Path, counts: Counts) -> None:
    for run in sorted(whole.glob("*-s[0-9]")):
        compare(kind, one / run.name, run, counts)
    for row in sorted((whole / "rows").glob("*.json")):
        found, expected = (folder / "rows" / row.name for folder in (one, whole))
        if not found.is_file() or read_json(found)["metrics"] != read_json(expected)["metrics"]:
            counts.faults.append(f"{kind} {one.name}: row {row.name} differs")


def attack_jobs(place: Path, kills: int, seed: int, counts: Counts) -> None:
    """A grid with two workers, its parent killed; no worker may outlive it for long."""
    rng, out = random.Random(seed + 2), place / "grid-jobs"
    command = [
        sys.executable,
        "-c",
        "from limbeck.cli import main; main()",
        "grid",
        str(place / "grid.yaml"),
        "--out",
        str(out),
        "--jobs",
        "2",
    ]
    for left in range(kills, -1, -1):
        log = place / f"jobs-{left}.log"
        with log.open("wb") as stream:
            parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream)
        if left:
            _until(partial(_has_workers, parent), 120)
            time.sleep(rng.uniform(0, 8))
        workers = children(parent.pid)
        if left:
            parent.kill()
        status = parent.wait()
        if status < 0:
            counts.kills["jobs"] += 1
            counts.moments[moment(out)] += 1
            if not _until(partial(_all_gone, workers), 30):
                counts.faults.append("jobs: a worker outlives its grid")
                for worker in filter(alive, workers):
                    os.kill(worker, signal.SIGKILL)
        elif status:
            counts.faults.append(f"jobs: could not go on: {log.read_text()[-1000:]}")
    compare_grids("jobs", out, place / "grid-whole", counts)


def _has_workers(parent: subprocess.Popen[bytes]) -> bool:
    return len(children(parent.pid)) > 2 or parent.poll() is not None


def _all_gone(processes: list[int]) -> bool:
    return not any(map(alive, processes))


def children(process: int) -> list[int]:
    """Processes that a process started (Linux)."""
    with contextlib.suppress(OSError):
        return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _until(done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def run_attack(place: Path, *, trains: int, grids: int, jobs: int, seed: int = 0) -> dict[str, Any]:
    """The whole attack in an empty folder; its counts."""
    torch.set_num_threads(1)  # forked processes have no threads of their parent
    counts = Counts()
    generate_scenes(place / "scenes", 60, seed=1, size=32)
    (place / "grid.yaml").write_text(yaml_text(grid(place / "scenes")))
    if trains:
        attack_train(place, trains, seed, counts)
    if grids or jobs:
        attack_grid(place, grids, seed, counts)
    if jobs:
        attack_jobs(place, jobs, seed, counts)
    return counts.to_json()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("train", 24), ("grid", 12), ("jobs", 4), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        found = run_attack(
            Path(place), trains=asked.train, grids=asked.grid, jobs=asked.jobs, seed=asked.seed
        )
    found |= {"seed": asked.seed, "seconds": round(time.monotonic() - began)}
    if asked.out is not None:
        write_json(asked.out, found)
    print(found)
    sys.exit(bool(found["faults"]))


if __name__ == "__main__":
    main()
