"""Figures of single pages that are more than a mean: prefixes, seconds, scores by the clock."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.evaluation import Result
from limbeck.evaluation.efficiency import score_at
from limbeck.grid.plan import find_grid, read_grid
from limbeck.metrics import paired_test
from results.data import Grid, Rows, members, observed, values
from results.formats import average, spread


@dataclass(frozen=True)
class Losses:
    """Mean loss, upper end of its 95 % interval, seeds."""

    mean: float
    high: float
    seeds: list[int]


def prefix_losses(grid: Grid, bits: Sequence[int] = (16, 32)) -> Losses:
    """What first bits of a nested code lose against codes trained at that length, mean of both ways."""
    lost: dict[Any, list[float]] = {}
    for length in bits:
        trained, prefix = (
            observed(grid.group(label, length), "mean map") for label in ("SODA", "nested (ours)")
        )
        for at in trained.keys() & prefix.keys():
            lost.setdefault(at, []).append(trained[at] - prefix[at])
    means = {at: float(np.mean(own)) for at, own in lost.items() if len(own) == len(bits)}
    test = paired_test(list(means.values()), [0.0] * len(means))
    return Losses(float(np.mean(list(means.values()))), float(test.high), sorted(s or 0 for _, s in means))


def run_seconds(groups: Iterable[Rows]) -> list[float]:
    """Seconds of each run that says what its training took, evaluation included."""
    runs = [result for group in groups for result in members(group)]
    return [sum(result.seconds.values()) for result in runs if "train" in result.seconds]


def complete(grid: Grid, bits: Iterable[int], draws: int) -> dict[str, list[Result]]:
    """Label → results of the first draws, of methods that have all lengths."""
    return {
        label: [r for group in own.values() for r in group.results if (r.seed or 0) < draws]
        for label, own in grid.ranked.items()
        if own.keys() >= set(bits)
    }


def scored(log: Mapping[str, Any]) -> int:
    """Trials of a tuned row that have a score."""
    return sum(trial["score"] is not None for trial in log["trials"])


def least_above_floor(rows: Rows, way: str) -> float:
    """Least mAP above the floor of its draw."""
    return min(result.metrics[way]["map"] - result.metrics[way]["floor"] for result in members(rows))


def at_seconds(
    labels: Mapping[str, list[Result]], places: int = 6
) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of training, up to where the first method ends, and the validation scores there in per cent."""
    runs = [r for results in labels.values() for r in results]
    start = max(min(p["seconds"] for p in r.progress) for r in runs)
    end = min(max(p["seconds"] for p in r.progress) for r in runs)
    at = np.linspace(start, end, places).tolist()

    def mean(results: list[Result], place: float) -> float:
        found = [score_at(result, "seconds", place) for result in results]
        return 100 * float(np.mean([score for score in found if score is not None]))

    return at, {label: [mean(results, place) for place in at] for label, results in labels.items()}


def shares_at_bound(rows: Rows) -> list[float]:
    """Shares of pictures and of texts at a bound of the radius, in per cent; of older rows nothing."""
    cones = [result.metrics.get("cone", {}) for result in members(rows)]
    return [100 * cone[name] for cone in cones for name in ("capped_image", "capped_text") if name in cone]


def by_run(runs: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Measured runs by name without the seed."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["run"].rpartition("-s")[0], []).append(run)
    return found


def shared(one: Sequence[Result], other: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Of two groups the results whose seeds both have."""
    seeds = {r.seed for r in one} & {r.seed for r in other}
    return [r for r in one if r.seed in seeds], [r for r in other if r.seed in seeds]


def where(rows: Rows) -> str:
    """What a row of a hyperbolic model has to say: curvature, radii, share inside the cone; else nothing."""
    results = members(rows)
    if "radius" not in results[0].metrics:
        return ""
    shares = shares_at_bound(results)
    bound = f", at a bound of the radius {np.mean(shares):.1f} %" if shares else ""
    curv = np.mean([r.space.get("curv", 0) for r in results])
    radii = ", ".join(
        f"{side} {np.mean(values(results, f'radius {side}')):.2f}" for side in ("image", "text")
    )
    inside = np.mean(values(results, "cone inside", 100))
    return f"; curv {curv:.2f}, radius {radii}, inside the cone {inside:.1f} %{bound}"


def set_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that say something."""
    return {key: value for key, value in settings.items() if value}


def some(rows: Iterable[Mapping[str, Any]], **asked: Any) -> list[Mapping[str, Any]]:
    """Rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in asked.items())]


def newest(rows: Iterable[Mapping[str, Any]], library: str) -> str:
    """The newest version of a library among measured rows."""
    found = {row["version"] for row in rows if row["library"] == library and "version" in row}
    return max(found, key=lambda version: [int(part) for part in version.split(".")])


def fastest(rows: Iterable[Mapping[str, Any]], recall: float) -> Mapping[str, Any]:
    """The row that is the most times as fast as exact search, of those with that recall@10 or more."""
    return max((row for row in rows if row["recall_10"] >= recall), key=lambda row: row["times_exact"])


def ranked_by(labels: Mapping[str, list[Result]], figure: str) -> list[tuple[str, list[Result]]]:
    """Labels with their results, the highest mean of a figure first."""
    return sorted(labels.items(), key=lambda item: -float(np.mean(values(item[1], figure))))


def by_width(labels: Mapping[str, list[Result]]) -> dict[str, dict[int, list[Result]]]:
    """Label without the width that it ends in → width of the embedding → results."""
    found: dict[str, dict[int, list[Result]]] = {}
    for label, results in labels.items():
        width = int(str(results[0].space["dim"]))
        found.setdefault(label.removesuffix(f" {width}"), {})[width] = results
    return found


def gaps_by_seed(one: Rows, other: Rows, figure: str, scale: float = 1.0) -> list[float]:
    """Differences of a figure, one per seed that both have."""
    first, second = observed(one, figure, scale), observed(other, figure, scale)
    return [first[at] - second[at] for at in first if at in second]


def kind_of(kinds: Mapping[str, Mapping[str, Any]], file: str) -> str:
    """What the processor was allowed to use for a part."""
    return next((kind for kind, own in kinds.items() if file in own["files"]), next(iter(kinds)))


def plain(setting: Mapping[str, Any]) -> str:
    """Settings of an engine: ``nlist: 1024, nprobe: 8``."""
    return json.dumps(setting).strip("{}").replace('"', "")


def passes(one: Sequence[Result], other: Sequence[Result]) -> list[float]:
    """Seconds after which one's validation is first above the best of the other, seed by seed."""
    best = {result.seed: max(place["score"] for place in result.progress) for result in other}
    return [next(p["seconds"] for p in r.progress if p["score"] > best[r.seed]) for r in one]


def missing(grid: Grid, plan: str) -> list[str]:
    """Rows of a packaged grid that lack results, each with the number of runs: ``ATMG (3 of 3 runs)``."""
    asked, found = read_grid(find_grid(plan)), []
    for name, row in asked.rows.items():
        product = asked.product if row.product is None else row.product
        labels = [" ".join([row.label or name, *map(str, p)]) for p in itertools.product(*product.values())]
        seeds = row.seeds or asked.seeds
        done = sum(len({r.seed for r in grid.labels.get(label, [])} & set(seeds)) for label in labels)
        if done < len(labels) * len(seeds):
            found.append(
                f"{row.label or name} ({len(labels) * len(seeds) - done} of {len(labels) * len(seeds)} runs)"
            )
    return found


def best_of_ours(grid: Grid) -> str:
    """Label of HMID-Net's best form, or of today's where the grid has no other."""
    return "HMID-Net, cones" if "HMID-Net, cones" in grid.labels else "HMID-Net"


def rivals(grid: Grid, own: str) -> list[str]:
    """Labels of the other hyperbolic methods."""
    return [label for label in grid.labels if label not in (own, "Euclidean twin", "CLIP")]


def recalls(rows: Rows, way: str) -> str:
    """``1.6 / 7.5 / 12.2 ± 0.4``: R@1, 5 and 10 in per cent, with the spread of the last."""
    return " / ".join(spread(values(rows, f"{way} r@{k}", 100)) if k == 10
                      else average(values(rows, f"{way} r@{k}", 100), 1) for k in (1, 5, 10))  # fmt: skip


def radii(rows: Rows) -> str:
    """Mean radius of the texts of each level of detail, from few words or general on."""
    names = [name for name in members(rows)[0].metrics.get("radius", {}) if name.startswith("text/")]
    if any(name.startswith("text/detail") for name in names):
        names.reverse()  # detail-1 is the most detailed
    return " / ".join(average(values(rows, f"radius {name}")) for name in names) or "–"


def train_seconds(rows: Rows) -> list[float]:
    """Seconds of training of each run, those before a stop included."""
    return [
        max(result.seconds["train"], result.efficiency.get("seconds", 0.0))
        for result in members(rows)
        if "train" in result.seconds
    ]
