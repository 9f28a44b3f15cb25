"""The compact tables of docs/results/hmid_net.md: effects of one change, few dimensions, the clock, the tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.evaluation import Result
from limbeck.evaluation.efficiency import score_at

DIRECTION_LABELS = ("t2i", "i2t")
Groups = Mapping[str, list[Result]]


def recalls(results: Sequence[Result], k: int = 10) -> dict[int, float]:
    """R@k in per cent, mean of both directions, by seed."""
    return {
        r.seed or 0: 100 * float(np.mean([r.metrics[way][f"r@{k}"] for way in DIRECTION_LABELS]))
        for r in results
    }


def spread(values: Sequence[float]) -> str:
    """``12.3 ± 0.4``, or the value alone of one seed."""
    text = f"{np.mean(values):.1f}"
    return text if len(values) < 2 else f"{text} ± {np.std(values, ddof=1):.1f}"


def _group_mean(results: Sequence[Result], group: str, name: str, digits: int = 2) -> str:
    values = [r.metrics[group][name] for r in results if group in r.metrics and name in r.metrics[group]]
    return f"{np.mean(values):.{digits}f}" if values else "–"


def is_clipped(result: Result) -> list[float]:
    """Shares of pictures and of texts at a bound of the radius, in per cent; of older rows nothing."""
    cone = result.metrics.get("cone", {})
    return [100 * cone[name] for name in ("capped_image", "capped_text") if name in cone]


def _percent(shares: Sequence[float]) -> str:
    return f"{np.mean(shares):.0f}" if shares else "–"


def held_out(groups: Groups) -> list[str]:
    """Combinations that no training scene has: retrieval and classes, a row a method."""
    columns = [(way, f"r@{k}") for way in DIRECTION_LABELS for k in (1, 10)]
    columns += [("zero_shot", "top1"), ("zero_shot", "chance")]
    rows = []
    for label, results in groups.items():
        found = [spread([100 * r.metrics[group][name] for r in results]) for group, name in columns]
        rows.append([label, str(len(results)), *found, _group_mean(results, "hierarchy", "tie")])
    rows.sort(key=lambda row: -float(row[3].split()[0]))
    head = [f"{group} {name}".replace("_", "-") for group, name in columns]
    return markdown(["scenes/held-out", "n", *head, "TIE"], rows)


def effects(groups: Groups, base: str) -> list[str]:
    """A row a change, best first: R@10, the difference from the base by seed, radii, cones, speed."""
    own = recalls(groups[base])
    rows = []
    for label, results in groups.items():
        found = recalls(results)
        seeds = sorted(found.keys() & own.keys())
        gaps = [found[seed] - own[seed] for seed in seeds]
        curv = [r.space["curv"] for r in results if "curv" in r.space]
        inside = [100 * r.metrics["cone"]["inside"] for r in results if "cone" in r.metrics]
        capped = [share for r in results for share in is_clipped(r)]
        rate = [r.efficiency["pairs_per_second"] for r in results if r.efficiency]
        cells = [
            f"`{label}`",
            str(len(found)),
            spread(list(found.values())),
            "" if label == base else ", ".join(f"{gap:+.1f}" for gap in gaps),
            f"{np.mean(curv):.2f}" if curv else "–",
            _group_mean(results, "radius", "image"),
            _group_mean(results, "radius", "text"),
            f"{np.mean(inside):.0f}" if inside else "–",
            _percent(capped),
            f"{np.mean(rate):.0f}" if rate else "–",
        ]
        rows.append((float(np.mean(list(found.values()))), cells))
    head = [
        "row",
        "n",
        "R@10",
        f"minus `{base}`, by seed",
        "curv",
        "r image",
        "r text",
        "in cone %",
        "at bound %",
        "pairs/s",
    ]
    return markdown(head, [cells for _, cells in sorted(rows, key=lambda row: -row[0])])


def dimensions(groups: Mapping[str, list[Result]]) -> list[str]:
    """R@10 by embedding width, a row a method."""
    dims = sorted({int(r.space["dim"]) for results in groups.values() for r in results})
    methods: dict[str, list[Result]] = {}
    for label, results in groups.items():
        own = methods.setdefault(label.removesuffix(f" {results[0].space['dim']}"), [])
        own.extend(results)
    rows = []
    for label, results in methods.items():
        by_dim = {
            dim: list(recalls([r for r in results if int(r.space["dim"]) == dim]).values()) for dim in dims
        }
        rows.append([label, *(spread(by_dim[dim]) if by_dim[dim] else "–" for dim in dims)])
    return markdown(["R@10, mean of both ways", *(f"{dim} dims" for dim in dims)], rows)


def at_seconds(groups: Groups, places: int = 6) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Seconds of training, up to where the first method ends, and each method's validation score there, per cent."""
    ends = [max(p["seconds"] for p in r.progress) for results in groups.values() for r in results]
    starts = [min(p["seconds"] for p in r.progress) for results in groups.values() for r in results]
    at = np.linspace(max(starts), min(ends), places)
    scores = {
        label: [[score_at(r, "seconds", float(place)) for r in results] for place in at]
        for label, results in groups.items()
    }
    means = {
        label: [100 * float(np.mean([s for s in row if s is not None])) for row in own]
        for label, own in scores.items()
    }
    return at, means


def clock(groups: Groups) -> list[str]:
    """Validation score at equal seconds of training."""
    at, means = at_seconds(groups)
    rows = [[label, *(f"{value:.2f}" for value in own)] for label, own in means.items()]
    return markdown(["validation mean R@k, %", *(f"{place:.0f} s" for place in at)], rows)


def tuning(records: Mapping[str, Any]) -> list[str]:
    """Every trial of every method, the chosen one marked."""
    rows = []
    for name, told in records.items():
        if not name.startswith("tune/"):
            continue
        for trial in told["trials"]:
            values = ", ".join(f"{key} {value:g}" for key, value in trial["settings"].items()) or "the recipe"
            score = "–" if trial["score"] is None else f"{100 * trial['score']:.2f}"
            chosen = "chosen" if trial["trial"] == told["chosen"] else ""
            rows.append([name.removeprefix("tune/"), str(trial["trial"]), values, score, chosen])
    return markdown(["method", "trial", "settings", "validation mean R@k, %", ""], rows)


def detail(part: dict[str, Any]) -> list[str]:
    """Recall by words of the caption; how often a caption's first half lies nearer the root than the whole."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in part["runs"]:
        groups.setdefault(run["run"].rsplit("-s", 1)[0], []).append(run)
    bins = [f"{a} to {b} words" if b < 99 else f"{a} words or more" for a, b in part["bins"]]
    rows = []
    for label, runs in groups.items():
        by_words = [spread([100 * run["by_words"][i] for run in runs]) for i in range(len(bins))]
        nearer = spread([100 * run["half_nearer_root"] for run in runs])
        rank = np.mean([run["spearman_words_depth"] for run in runs])
        rows.append([f"`{label}`", *by_words, nearer, f"{rank:+.2f}"])
    return markdown(["t2i R@10 of captions of", *bins, "half nearer the root, %", "words, depth"], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
