"""The demo, step by step. It shows the chain; it claims no ranking of methods, that is the grids' work."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.scenes.baselines import BASELINES, baseline_recall
from limbeck.data.scenes.generate import generate_scenes
from limbeck.demo.clock import Clock
from limbeck.demo.searches import example_searches
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.load import load
from limbeck.errors import LimbeckError
from limbeck.evaluation import Result, environment, evaluate
from limbeck.files import write_json
from limbeck.reporting.curves import read_curves
from limbeck.reporting.report import write_report
from limbeck.reporting.tables import result_tables
from limbeck.search import Index
from limbeck.training import train
from limbeck.training.pace import pairs_per_second
from limbeck.training.recipe import load_recipe

HASHING = ("demo/soda", "demo/soda-multihot", "demo/soda-direct", "demo/clip-itq")


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    scenes: int
    tower_seconds: float
    epochs: tuple[int, int]
    steps: int | None
    bits: tuple[int, ...]


FULL = Size(scenes=6000, tower_seconds=140, epochs=(8, 40), steps=None, bits=(16, 32, 64))
QUICK = Size(scenes=600, tower_seconds=1, epochs=(2, 2), steps=20, bits=(16, 64))


def run_demo(out: Path, *, quick: bool = False, seed: int = 0) -> Path:
    """Run the chain into ``out`` and return the path of its report.

    Args:
        out: new or empty directory; gets scenes, runs, index, ``results.json`` and ``report.html``.
        quick: a minute's worth, to see that everything works.
        seed: of data and training.

    Raises:
        LimbeckError: ``out`` is taken, or the extra ``report`` is not installed.
    """
    if out.exists() and any(out.iterdir()):
        raise LimbeckError(f"{out}: exists already; choose another --out or remove it")
    size = QUICK if quick else FULL
    clock = Clock(
        {
            "scenes": 25,
            "towers": size.tower_seconds + 10,
            "hash": 12 * len(size.bits) * 3,
            "index": 10,
            "report": 5,
        }
    )
    runs = out / "runs"
    with clock.step("scenes", f"draw {size.scenes} scenes"):
        generate_scenes(out / "scenes", n=size.scenes, seed=7 + seed)
        pairs = Pairs.open(out / "scenes")
        baselines = {name: baseline_recall(pairs, describe) for name, describe in BASELINES.items()}
    recipe = load_recipe("demo/clip", {"seed": seed, "data.pairs": str((out / "scenes").resolve())})
    pace = pairs_per_second(recipe)
    low, high = size.epochs
    epochs = max(low, min(high, int(size.tower_seconds * pace / len(pairs.split_rows("train")))))
    clock.expected["towers"] = epochs * len(pairs.split_rows("train")) / pace
    with clock.step("towers", f"train CLIP towers, {epochs} epochs at about {pace:,.0f} pairs/s"):
        clip = train(
            "demo/clip",
            out=runs / "clip",
            pairs=out / "scenes",
            overrides={"seed": seed, "stages.clip.schedule.epochs": epochs},
        )
        retrieval = [evaluate(clip, label="demo/clip")]
        continuous = evaluate(clip, protocol="scenes/hashing", label="demo/clip (not cut to bits)")
    results: list[Result] = [continuous]
    chosen = runs / f"soda-{max(size.bits)}"
    with clock.step(
        "hash",
        f"train hash heads on the towers' cached features, {len(HASHING)} methods "
        f"at {', '.join(map(str, size.bits))} bits",
    ):
        for bits in size.bits:
            for name in HASHING:
                run = train(
                    name,
                    out=runs / f"{name.split('/')[1]}-{bits}",
                    pairs=out / "scenes",
                    quiet=True,
                    overrides=_overrides(name, clip, bits, seed, size),
                )
                results.append(evaluate(run))
                print(
                    f"      {name} {bits} bits: mAP {results[-1].mean('map'):.3f}",
                    file=sys.stderr,
                    flush=True,
                )
    with clock.step("index", "build the index over the test pictures, search"):
        protocol = load_protocol("scenes/hashing")
        asked = protocol.split(pairs, "query")
        held_back, indexed = asked[:4], asked[4:]
        encoder = load(chosen)
        encoder.cache = BackboneCache()
        index = Index.build(out / "index", pairs, model=chosen, rows=indexed)
        picture = out / "query.png"
        pairs.open_image(int(held_back[0])).save(picture)
        searches = example_searches(index, pairs, held_back, indexed)
    with clock.step("report", "write the report"):
        everything = [*results, *retrieval]
        write_json(
            out / "results.json",
            [r.model_dump(mode="json", exclude={"per_query", "curves"}) for r in everything],
        )
        report = write_report(
            out / "report.html",
            title="limbeck demo: from pictures to searchable 8-byte codes",
            results=results,
            retrieval=retrieval,
            curves={
                p.name: read_curves(p)
                for p in (clip, *(runs / f"{n.split('/')[1]}-{max(size.bits)}" for n in HASHING[:3]))
            },
            searches=searches,
            facts=_facts(pairs, epochs, pace, clock.seconds, seed),
            commands=_commands(out, picture, runs, size),
            notes=_notes(baselines, retrieval[0]),
        )
    for table in result_tables(everything):
        Console().print(table.rich())
    print(f"\nreport: {report}   ({clock.seconds / 60:.1f} min)\nnext:")
    for command in _commands(out, picture, runs, size):
        print(f"  {command}")
    return report


def _overrides(name: str, clip: Path, bits: int, seed: int, size: Size) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "seed": seed,
        "towers.image.backbone.path": str(clip.resolve()),
        "towers.text.backbone.path": str(clip.resolve()),
    }
    if name == "demo/clip-itq":
        return changes | {"stages.codes.lift.bits": bits}
    changes["lift.bits"] = bits
    if size.steps is not None:
        if name == "demo/soda-direct":
            changes["stages.direct.schedule.steps"] = 2 * size.steps
        else:
            changes["schedule.steps"] = size.steps
    return changes


def _commands(out: Path, picture: Path, runs: Path, size: Size) -> list[str]:
    every = " ".join(str(runs / f"{name.split('/')[1]}-{bits}") for bits in size.bits for name in HASHING[:3])
    return [
        f'limbeck search {out / "index"} "a red striped triangle above a blue circle" --gallery hits.png',
        f"limbeck search {out / 'index'} --image {picture} -k 5",
        f"limbeck compare {every} --base demo/soda-direct",
    ]


def _facts(pairs: Pairs, epochs: int, pace: float, seconds: float, seed: int) -> dict[str, str]:
    machine = environment()[1]
    return {
        "scenes": f"{len(pairs):,} "
        f"({len(pairs.split_rows('train')):,} train, {len(pairs.split_rows('test')):,} test)",
        "towers": f"{epochs} epochs, {pace:,.0f} pairs/s",
        "whole chain": f"{seconds / 60:.1f} min",
        "seed": str(seed),
        "machine": f"{machine['cores']} cores, bf16 {'yes' if machine['bf16'] else 'no'}",
    }


def _notes(baselines: dict[str, dict[str, float]], clip: Result) -> list[str]:
    trivial = "; ".join(
        f"ridge from {name}: {v['i2t']:.1f} / {v['t2i']:.1f}" for name, v in baselines.items()
    )
    best = " / ".join(f"{100 * clip.metrics[d]['r@1']:.1f}" for d in ("i2t", "t2i"))
    return [
        f"R@1 in percent, i→t / t→i, among the test scenes: towers trained here {best}; {trivial}.",
        "One seed on generated data: this page shows that the chain works, it ranks no method.",
    ]
