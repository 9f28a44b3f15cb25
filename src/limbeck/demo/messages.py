"""Make the texts of the demo: names, facts, notes, and suggested commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from limbeck.data.pairs import Pairs
from limbeck.demo.models import Plan, run_of
from limbeck.evaluation import Result, environment
from limbeck.reporting.style import SERIES
from limbeck.reporting.tables import score_text

CONTINUOUS = "teacher (floats)"
SODA = "SODA"
INDEX, HYPERBOLIC_INDEX, PICTURE = "index", "index-hmid-net", "query.png"
COLORS = {"warm": SERIES[1], "cool": SERIES[0], "grey": SERIES[7]}


def colour_columns(
    colours: Mapping[str, Mapping[str, float]], results: Sequence[Result]
) -> dict[str, list[str]]:
    """Return the overview columns of the colours as zero-shot classes."""
    rows = [colours[result.label] for result in results]
    return {
        "colour top-1": [score_text("top1", row["top1"]) for row in rows],
        "colour TIE": [score_text("tie", row["tie"]) for row in rows],
    }


def colour_note(colours: Mapping[str, Mapping[str, float]]) -> str:
    """Return the note that explains these columns."""
    chance = next(iter(colours.values()))["chance"]
    return f"colour: the eight colours as classes of the scenes with one figure, chance {100 * chance:.1f}"


def commands(out: Path, runs: Path, lengths: Sequence[int]) -> list[str]:
    """Return the commands that you can run next."""
    methods = ("demo/soda", "demo/soda-multihot", "demo/soda-direct")
    every = " ".join(str(run_of(runs, f"{name}-{bits}")) for bits in lengths for name in methods)
    return [
        f'limbeck search {out / INDEX} "a red ring at night" --gallery hits.png',
        f"limbeck search {out / INDEX} --image {out / PICTURE} -k 5",
        f'limbeck search {out / HYPERBOLIC_INDEX} "a red ring at night" -k 5',
        f"limbeck traverse {out / HYPERBOLIC_INDEX} --image {out / PICTURE} --figure way.png",
        f"limbeck compare {every} --base demo/soda-direct --protocol scenes/hashing",
    ]


def facts(pairs: Pairs, large: Plan, small: Plan, seconds: float, seed: int) -> dict[str, str]:
    """Return the facts for the head of the page."""
    machine = environment()[1]
    return {
        "scenes": f"{len(pairs):,} "
        f"({len(pairs.split_rows('train')):,} train, {len(pairs.split_rows('test')):,} test)",
        "teacher": f"{large.detail} + {large.all} epochs",
        "students": f"{small.detail} + {small.all} epochs each",
        "whole chain": f"{seconds / 60:.1f} min",
        "seed": str(seed),
        "machine": f"{machine['cores']} cores, bf16 {'yes' if machine['bf16'] else 'no'}",
    }


def notes(baselines: Mapping[str, Mapping[str, float]], models: Sequence[Result]) -> list[str]:
    """Return the sentences of the summary."""
    trivial = "; ".join(
        f"ridge from {name}: {v['i2t']:.1f} / {v['t2i']:.1f}" for name, v in baselines.items()
    )
    best = " / ".join(f"{100 * models[0].metrics[d]['r@1']:.1f}" for d in ("i2t", "t2i"))
    inside = ", ".join(
        f"{model.label} {100 * model.metrics['cone']['inside']:.1f}"
        for model in models
        if "cone" in model.metrics
    )
    return [
        "A teacher and three students learn the same scenes on the sphere and on the hyperboloid; SODA turns "
        "the teacher's towers into codes of a few bytes.",
        f"R@1 in percent, i→t / t→i, among the test scenes: teacher {best}; {trivial}.",
        "One seed on generated data, minutes of training: this page shows that the chain works, it ranks no "
        "method. Shapes take longer to learn than this demo has: top-1, the shape of the main figure, is "
        "near chance; colours are learnt. Cones take longer, too: per cent of pairs with the picture in its "
        f"text's cone: {inside}.",
    ]
