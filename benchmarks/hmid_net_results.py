"""Write docs/results/hmid_net.json and hmid_net.md from the rows that the grids left.

    limbeck grid hmid_net/grid-NAME --data runs/flickr8k --out runs/NAME   (flickr8k, ablation, dims, clock, tuning)
    limbeck grid hmid_net/grid-scenes --data runs/scenes --out runs/scenes-grid
    python benchmarks/hmid_net_results.py [--rows results]

A grid without a row yet is left out; speed.json (masking_speed.py) is read from docs/results/parts where it lies.
"""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np

from claims import Claims
from hmid_net_tables import (
    DIRECTION_LABELS,
    at_seconds,
    clock,
    detail,
    dimensions,
    effects,
    held_out,
    is_clipped,
    tuning,
)
from limbeck.evaluation import Result, compare, environment
from limbeck.evaluation.packs import read_pack
from limbeck.files import read_json, write_atomic, write_json
from limbeck.reporting.comparison import comparison_tables
from limbeck.reporting.efficiency import efficiency_table
from limbeck.reporting.progress import quality_over

OUT = Path("docs/results")
SPEED = "benchmarks/masking_speed.py"
# Speed that was asked for, by the start of the variant's name.
BARS = {
    "HMID-Net, 50 % dropped, no decoder": 1.5,
    "HMID-Net, 75 % dropped, no decoder": 2.0,
    "HMID-Net, 50 % dropped, decoder, teacher's patches": 1.3,
    "HMID-Net, 75 % dropped, decoder, teacher's patches": 1.5,
    "HMID-Net, 50 % dropped, decoder, pixels": 1.3,
    "HMID-Net, 75 % dropped, decoder, pixels": 1.5,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, default=Path("results"))
    options = parser.parse_args()
    claims, sections = Claims(), []
    for name, base, told in (("flickr8k", "CLIP", headline), ("scenes", "CLIP", scenes)):
        files, groups = grid(options.rows, name)
        if files:
            told(claims, groups)
            tables = comparison_tables(compare(files, base=base if base in groups else None))
            sections.append((name, [line for table in tables for line in (table.markdown(), "")]))
    sections += compact(options.rows)
    equal_time(claims, grid(options.rows, "clock")[1])
    part = OUT / "parts" / "speed.json"
    if part.is_file():
        speed(claims, read_json(part))
    write_json(OUT / "hmid_net.json", {"claims": claims.rows, "rows": every_row(options.rows)})
    write_atomic(OUT / "hmid_net.md", page(claims, sections))
    print(f"{sum(row['met'] for row in claims.rows)} of {len(claims.rows)} met")


def grid(rows: Path, name: str, protocol: str = "") -> tuple[list[Result], dict[str, list[Result]]]:
    """Results of a grid's rows, by a further protocol (``@scenes-held-out``) or the grid's own; results by label."""
    groups: dict[str, list[Result]] = {}
    for row, record in read_pack(rows / f"hmid_net-{name}.jsonl.xz").items():
        if re.search(f"-s[0-9]{protocol}$", row):
            result = Result.parse(record, row)
            groups.setdefault(result.label, []).append(result)
    return [result for own in groups.values() for result in own], groups


def compact(rows: Path) -> list[tuple[str, list[str]]]:
    """Sections of the further grids, one table each."""
    sections = []
    for name, table in (("ablation", lambda groups: effects(groups, "hmid-net")), ("dims", dimensions)):
        files, groups = grid(rows, name)
        if files:
            sections.append((name, table(groups)))
    files, groups = grid(rows, "clock")
    if files:
        sections.append(("clock", by_the_clock(files, groups)))
    _, groups = grid(rows, "scenes", "@scenes-held-out")
    if groups:
        sections.append(("scenes: combinations never trained on", held_out(groups)))
    sections.append(("tuning", tuning(read_pack(rows / "hmid_net-tuning.jsonl.xz"))))
    told = OUT / "parts" / "detail.json"
    if told.is_file():
        sections.append(("flickr8k: detail of captions", detail(read_json(told))))
    return sections


def by_the_clock(files: list[Result], groups: dict[str, list[Result]]) -> list[str]:
    """Scores at equal seconds, what a run costs, and a plot of quality over samples and time."""
    lines = clock(groups)
    comparison = compare(files)
    cost = efficiency_table(comparison, comparison.groups)
    if cost is not None:
        lines += ["", cost.markdown()]
    chart = quality_over([result for own in groups.values() for result in own])
    if chart is not None:
        write_atomic(OUT / "hmid_net-clock.png", chart.png())
        lines += ["", "![validation by pairs and by seconds](hmid_net-clock.png)"]
    return lines


def every_row(rows: Path) -> list[dict[str, Any]]:
    """The figures of every row of every grid."""
    found = []
    for pack in sorted(rows.glob("hmid_net-*.jsonl.xz")):
        for row, record in read_pack(pack).items():
            if not re.search("-s[0-9]$", row):
                continue
            result = Result.parse(record, row)
            found.append(
                {
                    "grid": pack.name.partition(".")[0],
                    "row": row,
                    "label": result.label,
                    "seed": result.seed,
                    "space": result.space,
                    "metrics": result.metrics,
                }
            )
    return found


def mean(results: list[Result], group: str, measure: str) -> float:
    return float(np.mean([r.metrics[group][measure] for r in results]))


def where(results: list[Result]) -> str:
    """Final curvature, radius by modality, share inside the cone: what a row of a hyperbolic model has to say."""
    if "radius" not in results[0].metrics:
        return ""
    shares = [share for r in results for share in is_clipped(r)]
    bound = f", at a bound of the radius {np.mean(shares):.1f} %" if shares else ""
    curv = np.mean([r.space.get("curv", 0) for r in results])
    radii = ", ".join(f"{side} {mean(results, 'radius', side):.2f}" for side in ("image", "text"))
    return f"; curv {curv:.2f}, radius {radii}, inside the cone {100 * mean(results, 'cone', 'inside'):.1f} %{bound}"


def recall(claims: Claims, command: str, groups: dict[str, list[Result]]) -> None:
    for label, own in groups.items():
        for way in DIRECTION_LABELS:
            values = [100 * r.metrics[way]["r@10"] for r in own]
            spread = f"s.d. {np.std(values, ddof=1):.2f}" if len(own) > 1 else "one seed"
            claims.add(
                f"{label}, {way} R@10",
                command,
                float(np.mean(values)),
                "%",
                seeds=sorted(r.seed or 0 for r in own),
                note=f"{spread}; R@1 {100 * mean(own, way, 'r@1'):.1f}, R@5 {100 * mean(own, way, 'r@5'):.1f}{where(own)}",
            )


def headline(claims: Claims, groups: dict[str, list[Result]]) -> None:
    """Students on 32 px pictures, 204,800 pairs, against the same towers without a teacher."""
    command = "limbeck grid hmid_net/grid-flickr8k --data runs/flickr8k"
    recall(claims, command, groups)
    for rival, bar in (("MERU", 1.5), ("CLIP", 1.2), ("Euclidean twin", None)):
        for way in DIRECTION_LABELS:
            if rival in groups:
                own, other = groups["HMID-Net"], groups[rival]
                seeds = sorted({r.seed or 0 for r in own} & {r.seed or 0 for r in other})
                taken = [[r for r in rows if (r.seed or 0) in seeds] for rows in (own, other)]
                ratio = mean(taken[0], way, "r@10") / mean(taken[1], way, "r@10")
                claims.add(f"HMID-Net over {rival}, {way} R@10", command, ratio, "times", bar, seeds=seeds)


def scenes(claims: Claims, groups: dict[str, list[Result]]) -> None:
    """The generated scenes, with classes and their tree."""
    command = "limbeck grid hmid_net/grid-scenes --data runs/scenes"
    measures = [(way, f"r@{k}") for way in DIRECTION_LABELS for k in (1, 10)] + [("zero_shot", "top1")]
    own = groups.get("HMID-Net", [])
    for label, rows in groups.items():
        told = [*measures, *([("probe", "top1")] if "probe" in rows[0].metrics else [])]
        facts = ", ".join(f"{group} {name} {100 * mean(rows, group, name):.1f}" for group, name in told)
        tie = mean(rows, "hierarchy", "tie")
        claims.add(
            f"scenes, {label}: TIE",
            command,
            tie,
            "edges",
            seeds=sorted(r.seed or 0 for r in rows),
            note=facts + where(rows),
        )
    for rival in ("MERU", "CLIP"):
        if own and rival in groups:
            for group, name in measures:
                gap = 100 * (mean(own, group, name) - mean(groups[rival], group, name))
                claims.add(f"scenes, HMID-Net minus {rival}, {group} {name}", command, gap, "points", 0.0)
            gap = mean(own, "hierarchy", "tie") - mean(groups[rival], "hierarchy", "tie")
            claims.add(f"scenes, HMID-Net minus {rival}, TIE", command, gap, "edges", 0.0, below=True)


def equal_time(claims: Claims, groups: dict[str, list[Result]]) -> None:
    """Validation after equal seconds of training."""
    if not groups:
        return
    at, means = at_seconds(groups)
    for label, own in means.items():
        if label.startswith("HMID-Net"):
            for rival in ("MERU", "CLIP"):
                claims.add(
                    f"equal wall-clock, {label} over {rival}: validation mean R@k after {at[-1]:.0f} s of training",
                    "limbeck grid hmid_net/grid-clock --data runs/flickr8k --jobs 2",
                    own[-1] / means[rival][-1],
                    "times",
                    1.0 if rival == "MERU" else None,
                    seeds=[0, 1],
                    note=f"{own[-1]:.2f} % against {means[rival][-1]:.2f} %",
                )


def speed(claims: Claims, part: dict[str, Any]) -> None:
    """Seconds a step with dropped patches against the dense MERU step."""
    settings = {k: v for k, v in part["settings"].items() if v}
    for row in part["results"][1:]:
        claims.add(
            f"{row['variant']}: speed of the step against dense MERU",
            f"{SPEED} {settings}",
            row["speed"],
            "times",
            BARS.get(row["variant"]),
            note=f"median {1e3 * row['median_s']:.0f} ms a step; bound by multiply-adds {row['bound']:.2f}",
        )


def page(claims: Claims, sections: list[tuple[str, list[str]]]) -> str:
    versions, machine = environment()
    lines = [
        "# HMID-Net, measured",
        "",
        f"Written by `benchmarks/hmid_net_results.py` on {datetime.date.today()}; the same figures in `hmid_net.json`.",
        f"Machine: {machine['processor']}, {machine['cores']} cores, bf16 {machine['bf16']}; torch {versions.get('torch')}.",
        "",
        (Path(__file__).parent / "hmid_net_reading.md").read_text(encoding="utf-8"),
        *claims.table(),
    ]
    for name, own in sections:
        of, _, what = name.partition(": ")
        lines += ["", f"## Grid `hmid_net/grid-{of}`{': ' + what if what else ''}", "", *own]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
