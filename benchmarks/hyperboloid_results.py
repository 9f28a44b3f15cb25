"""Write docs/results/hyperboloid.json and hyperboloid.md from finished runs and the parts that other programs wrote.

    python benchmarks/hyperboloid_results.py --runs runs/f8k --further runs/f8k-more --parts docs/results/parts \
        --coco coco_mini_224.zip

Runs come from flickr8k_grid.py; the parts are masking.json and masking_kept_memory.json (masking_speed.py, the latter
under MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456), lorentz_search.json
(lorentz_search.py), stability.json (stability.py) and hand.json (rows measured from the command line).
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from claims import Claims
from hyperboloid_checks import coco, formulas, house
from limbeck.data.protocols import load_protocol
from limbeck.evaluation import Result, compare, environment
from limbeck.files import read_json, write_atomic, write_json
from limbeck.reporting.comparison import comparison_tables

OUT = Path("docs/results")
GRID = "benchmarks/flickr8k_grid.py features --data runs/flickr8k --out runs/f8k"
STUDENTS = "benchmarks/flickr8k_grid.py students --data runs/flickr8k --out runs/f8k"
BARS = {"flickr8k/clip-minilm": {"t2i": 62.0, "i2t": 67.0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument(
        "--further", type=Path, required=True, help="runs of further seeds of polar- and clip-minilm"
    )
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--coco", type=Path, required=True, help="coco_mini_224.zip")
    options = parser.parse_args()
    claims = Claims()
    teachers = [f for f in sorted(options.runs.glob("*-s[0-9]/result.json"))]
    students = [f for f in sorted(options.runs.glob("student-*/result.json"))]
    retrieval(claims, [Result.load(file) for file in teachers])
    further_seeds(claims, options.runs, options.further)
    student(claims, {file.parent.name: Result.load(file) for file in students})
    formulas(claims)
    coco(claims, options.coco)
    house(claims)
    for name in ("masking", "masking_kept_memory"):
        masking(claims, read_json(options.parts / f"{name}.json"))
    search(claims, read_json(options.parts / "lorentz_search.json"))
    for part in ("stability", "hand"):
        claims.rows += read_json(options.parts / f"{part}.json")
    write_json(OUT / "hyperboloid.json", claims.rows)
    tables = comparison_tables(compare(teachers, base="flickr8k/clip-minilm"))
    tables += comparison_tables(compare(students, base="flickr8k/student-clip"))
    write_atomic(OUT / "hyperboloid.md", page(claims, [table.markdown() for table in tables]))
    print(f"{sum(row['met'] for row in claims.rows)} of {len(claims.rows)} met")


def mean(results: list[Result], way: str, measure: str = "r@10") -> float:
    """Mean over seeds, per cent."""
    return 100 * float(np.mean([r.metrics[way][measure] for r in results]))


def retrieval(claims: Claims, results: list[Result]) -> None:
    """R@10 of every recipe, and what had to hold between them."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.label, []).append(result)
    for label, own in sorted(groups.items()):
        seeds = [r.seed or 0 for r in own]
        for way in ("t2i", "i2t"):
            values = [100 * r.metrics[way]["r@10"] for r in own]
            spread = f"{len(own)} seeds, s.d. {np.std(values, ddof=1):.2f}" if len(own) > 1 else ""
            further = ", ".join(f"R@{k} {mean(own, way, f'r@{k}'):.1f}" for k in (1, 5))
            rank = f"median rank {np.mean([r.metrics[way]['median_rank'] for r in own]):.1f}"
            bar = BARS.get(label, {}).get(way) or (52.8 if way == "t2i" and "minilm" not in label else None)
            claims.add(
                f"{label}, {way} R@10 on flickr8k/official",
                GRID,
                mean(own, way),
                "%",
                bar,
                seeds=seeds,
                note=f"{spread}; {further}; {rank}",
            )
    trained = [groups["flickr8k/clip"], groups["flickr8k/meru"]]
    better, other = sorted((mean(own, "i2t") for own in trained), reverse=True)
    claims.add("trained text tower, i2t R@10 of the better of clip and meru", GRID, better, "%", 63.9)
    claims.add("trained text tower, i2t R@10 of the other", GRID, other, "%", 60.9)
    for name in ("polar", "meru"):
        for way in ("t2i", "i2t"):
            lift = "polar" if name == "polar" else "tangent"
            bar = -1.0 if name == "polar" else None
            beside_clip(
                claims, lift, groups[f"flickr8k/{name}-minilm"], groups["flickr8k/clip-minilm"], way, bar
            )


def beside_clip(
    claims: Claims, lift: str, own: list[Result], clip: list[Result], way: str, bar: float | None
) -> None:
    """Difference of R@10 in points, paired by seed."""
    gaps = [mean([a], way) - mean([b], way) for a, b in zip(by_seed(own), by_seed(clip), strict=True)]
    half = stats.t.ppf(0.975, len(gaps) - 1) * np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    low, high = np.mean(gaps) - half, np.mean(gaps) + half
    claims.add(
        f"lift {lift} minus clip, sentence encoder, {way} R@10, {len(gaps)} seeds",
        GRID,
        float(np.mean(gaps)),
        "points",
        bar,
        seeds=[r.seed or 0 for r in by_seed(own)],
        note=f"95 % interval over seeds {low:+.1f} to {high:+.1f}",
    )


def by_seed(results: list[Result]) -> list[Result]:
    return sorted(results, key=lambda r: r.seed or 0)


def further_seeds(claims: Claims, runs: Path, further: Path) -> None:
    """The polar lift beside clip once more, with seeds that were added after the first three had been seen."""
    both = {}
    for name in ("polar", "clip"):
        files = [f for place in (runs, further) for f in place.glob(f"{name}-minilm-s[0-9]/result.json")]
        both[name] = [Result.load(file) for file in files]
    for way in ("t2i", "i2t"):
        beside_clip(claims, "polar", both["polar"], both["clip"], way, -1.0)


def student(claims: Claims, results: dict[str, Result]) -> None:
    """The pixel student with its teacher against MERU and CLIP of the same towers and samples."""
    taught = results["student-hmid-net"]
    for name, result in sorted(results.items()):
        for way in ("t2i", "i2t"):
            value = 100 * result.metrics[way]["r@10"]
            facts = ", ".join(f"R@{k} {100 * result.metrics[way][f'r@{k}']:.1f}" for k in (1, 5))
            claims.add(f"{name} (32 px), {way} R@10", STUDENTS, value, "%", seeds=[0], note=facts)
    for rival in ("student-meru", "student-clip"):
        for way in ("t2i", "i2t"):
            ratio = taught.metrics[way]["r@10"] / results[rival].metrics[way]["r@10"]
            claims.add(f"student-hmid-net over {rival}, {way} R@10", STUDENTS, ratio, "times", 1.0, seeds=[0])


def masking(claims: Claims, part: dict[str, Any]) -> None:
    """Seconds a step with dropped patches."""
    settings = {k: v for k, v in part["settings"].items() if v}
    memory = "freed memory kept" if settings.get("malloc") else "allocator as installed"
    for row in part["results"][1:]:
        claims.add(
            f"{row['variant']}: speed of the step against dense MERU ({memory})",
            f"benchmarks/masking_speed.py ({json.dumps(settings)})",
            row["speed"],
            "times",
            1.5 if row["variant"] == "HMID-Net, 50 % dropped, no decoder" else None,
            note=f"median {1e3 * row['median_s']:.0f} ms a step; bound by multiply-adds {row['bound']:.2f}",
        )


def search(claims: Claims, part: dict[str, Any]) -> None:
    """Share of the queries whose top 10 is the geodesic one of a float64 brute force."""
    size = f"--points {part['points']} --queries {part['queries']} --dim {part['dim']}"
    for row in part["rows"]:
        name = row["engine"] + (", order proven in float64" if row["refined"] else ", raw float32 answer")
        claims.add(
            f"Lorentz search, {part['points']:,} points, {name}: queries with the exact geodesic top {part['k']}",
            f"benchmarks/lorentz_search.py {size}",
            row["same_order"],
            "share",
            1.0 if row["refined"] else None,
            note=f"right sets {row['same_set']:.3f}; {row['ms_query_in_batch']:.1f} ms a query in a batch, "
            f"{row['ms_query_alone']:.1f} ms alone",
        )


def page(claims: Claims, tables: list[str]) -> str:
    versions, machine = environment()
    protocol = load_protocol("flickr8k/official")
    processor = f"{machine['processor']}, {machine['cores']} cores, bf16 {machine['bf16']}"
    lines = [
        "# The hyperboloid, measured",
        "",
        f"Written by `benchmarks/hyperboloid_results.py` on {datetime.date.today()}; the same figures in `hyperboloid.json`.",
        f"Machine: {processor}, vector popcount {machine['vector_popcount']}; torch {versions.get('torch')}.",
        f"Protocol `{protocol.name}`, hash `{protocol.hash}`; checkpoints chosen on validation pictures; ranks in expectation.",
        "",
        *claims.table(),
        "",
        "## The tables of the grid",
        "",
        f"`python {GRID}`, then `python {STUDENTS}`",
        "",
        *[table + "\n" for table in tables],
        (Path(__file__).parent / "hyperboloid_reading.md").read_text(encoding="utf-8"),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
