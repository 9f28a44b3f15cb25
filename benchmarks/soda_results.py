"""Write docs/results/soda.json, soda.md and their plots from the rows that the grids left.

    limbeck grid soda/grid-mirflickr --data runs/mirflickr --out runs/soda-field --jobs 2
    limbeck grid soda/grid-mirflickr-controls --data runs/mirflickr --out runs/soda-controls --jobs 2
    limbeck grid soda/grid-mirflickr-folds --data runs/mirflickr --out runs/soda-folds --jobs 2
    limbeck grid soda/grid-prompts --data runs/mirflickr --out runs/soda-prompts --jobs 2
    limbeck grid soda/grid-pixels --data runs/mirflickr --out runs/soda-pixels --jobs 2
    python benchmarks/clip_names.py FEATURES && limbeck grid runs/clip-names/grid.yaml --data runs/mirflickr
    python benchmarks/soda_results.py [--rows results]

A grid without a row yet is left out. Claims that other programs wrote to docs/results/parts/soda-*.json (lists of
rows as in soda.json) are taken in; benchmarks/soda_reading.md is the text above the tables.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

import numpy as np

import soda_prompts
import soda_tables as tables
from claims import Claims
from limbeck.evaluation import compare, environment
from limbeck.evaluation.compare import Comparison
from limbeck.evaluation.packs import read_pack
from limbeck.evaluation.results import load_results
from limbeck.files import read_json, write_atomic, write_json
from limbeck.metrics import paired_test
from limbeck.reporting.progress import write_figure
from soda_differences import Differences, observed

OUT = Path("docs/results")
DIRECTION_LABELS = ("i2t", "t2i")
GRID = "limbeck grid soda/grid-{} --data runs/mirflickr"
# MITH's published figures (CLIP towers, the full set): the aim, not a comparison on equal terms.
MITH = {("i2t", 16): 0.846, ("i2t", 32): 0.865, ("i2t", 64): 0.872}
MITH |= {("t2i", 16): 0.823, ("t2i", 32): 0.839, ("t2i", 64): 0.847}
FLOORS = ("ITQ (no labels)", "signs (no labels)")
TRIALS = 8
CODED = ("SODA", "nested (ours)", "no teacher")
BESIDE = ("map_unseen", "ndcg@1000", "p@100", "lookup_precision")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    claims, sections = Claims(), []
    for name, base, told in (
        ("mirflickr", "SODA", field),
        ("mirflickr-controls", "soda", controls),
        ("mirflickr-folds", "SODA", folds),
        ("prompts", "0 pairs", prompts),
        ("pixels", "SODA", pixels),
        ("names", "sentence, 10,000", names),
    ):
        pack = options.rows / f"soda-{name}.jsonl.xz"
        if pack.is_file():
            rows = load_results([pack])
            labels = {row.label for row in rows}
            comparison = compare(rows, base=base if base in labels else None)
            grid = "runs/clip-names/grid.yaml" if name == "names" else f"soda/grid-{name}"
            sections.append([f"## Grid `{grid}`", "", *told(claims, comparison, options, name)])
    for part in sorted((OUT / "parts").glob("soda-*.json")):
        claims.rows += read_json(part)
    write_json(options.out / "soda.json", claims.rows)
    write_atomic(options.out / "soda.md", page(claims, sections))
    print(f"{sum(row['met'] for row in claims.rows)} of {len(claims.rows)} met")


def field(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """The field's table: figures, gaps, speed, tuning."""
    command = GRID.format(name)
    figures(claims, command, comparison)
    further = gaps(claims, command, comparison)
    nested(claims, command, comparison)
    speed(claims, command, comparison)
    lines = trials(claims, command, read_pack(options.rows / f"soda-{name}.jsonl.xz"))
    figure = options.out / f"soda-{name}.svg"
    write_figure(figure, [result for group in comparison.groups for result in group.results])
    long = max((bits for bits in tables.lengths(comparison) if bits), default=64)
    note = "mAP over the whole database, mean ± s.d. over draws; bold: best of a length."
    return [
        f"Protocols {comparison.protocol}. {note}", "", *tables.means(comparison), "",
        *minus(comparison), f"![mAP by bits, precision by recall, P@N]({figure.name})", "",
        f"Beside mAP, {long} bits (unseen: without trained items in the database):", "",
        *tables.beside(comparison, long), "", *further, *lines,
    ]  # fmt: skip


def minus(comparison: Comparison) -> list[str]:
    if comparison.base is None:
        return []
    note = "Paired by draw and seed, 95 % t interval; * p < .05 after Holm's correction over this table."
    found = tables.differences(comparison)
    return [note, "", *found, ""] if len(found) > 2 else []


def controls(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """What each part of SODA does, against SODA and against no teacher."""
    command = GRID.format(name)
    figures(claims, command, comparison)
    groups = {group.label: group for group in comparison.groups}
    found = Differences(claims, command)
    for label, group in groups.items():
        if label != "no-teacher":
            found.both(group, groups.get("no-teacher"), "map")
    direct = soda_prompts.listed(found.settle()) if found.pairs else []
    loss = Differences(claims, command)
    loss.add(groups.get("soda"), groups.get("permuted-labels"), "mean map", 0.05)
    loss.settle()
    return ["", *tables.means(comparison), "", *minus(comparison), *direct]


def folds(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """Each fifth once the queries."""
    figures(claims, GRID.format(name), comparison, "five folds, ")
    return ["", *tables.means(comparison), "", *minus(comparison)]


def prompts(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """Where the label prompt pays."""
    return soda_prompts.prompts(claims, comparison, GRID.format(name))


def pixels(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """The field on plain pictures."""
    lines = soda_prompts.pixels(claims, comparison, GRID.format(name))
    return [*lines, *minus(comparison)]


def names(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """Class names through CLIP's text tower."""
    return soda_prompts.names(
        claims, comparison, "limbeck grid runs/clip-names/grid.yaml --data runs/mirflickr"
    )


def figures(claims: Claims, command: str, comparison: Comparison, what: str = "") -> None:
    """Means; the bar is the draws' own floor."""
    for label, own in tables.by_label(comparison).items():
        for bits, group in own.items():
            for way in DIRECTION_LABELS:
                values = group.values[f"{way} map"]
                spread = f"s.d. {np.std(values, ddof=1):.4f}" if len(values) > 1 else "one run"
                unseen = group.values.get(f"{way} map_unseen")
                more = f"; items not trained on {np.mean(unseen):.4f}" if unseen else ""
                more += (
                    f"; each {', '.join(f'{value:.4f}' for value in values)}"
                    if what and len(values) > 1
                    else ""
                )
                name = f"{what}{label}, {f'{bits} bits' if bits else 'floats'}, {way} mAP"
                floors = [r.metrics[way]["floor"] for r in group.results if "floor" in r.metrics[way]]
                free = not bits or label in ("permuted-labels", *FLOORS) or not floors
                seeds = [seed or 0 for seed in group.seeds]
                claims.add(
                    name, command, group.mean(f"{way} map"), "mAP", None if free else max(floors), seeds=seeds,
                    note=spread + more,
                )  # fmt: skip


def gaps(claims: Claims, command: str, comparison: Comparison) -> list[str]:
    """SODA against each rival, on mAP and what stands beside it; against the floats; against MITH's paper."""
    own = tables.by_label(comparison)
    soda, floats = own.get("SODA", {}), own.get("floats", {}).get(None)
    found = Differences(claims, command)
    for label, groups in own.items():
        for bits, group in groups.items():
            if bits and label != "SODA":
                found.add(soda.get(bits), group, "mean map", names=(f"SODA, {bits} bits,", label))
    found.settle()
    found = Differences(claims, command)
    for label in CODED:
        for bits, group in own.get(label, {}).items():
            if bits:
                found.add(group, floats, "mean map", names=(f"{label}, {bits} bits,", "floats"))
    found.settle()
    for label in CODED:
        for (way, bits), published in MITH.items():
            if bits in own.get(label, {}):
                value = own[label][bits].mean(f"{way} map")
                claims.add(
                    f"{label} minus MITH as published, {bits} bits, {way}", command, value - published, "mAP", 0.0,
                    note=f"MITH's paper has {published}, with CLIP on the full set",
                )  # fmt: skip
    found = Differences(claims, command)
    for label, groups in own.items():
        if 64 in groups and label != "SODA":
            for name in BESIDE:
                found.both(soda.get(64), groups[64], name)
    lines = soda_prompts.listed(found.settle()) if found.pairs else []
    return ["SODA minus the others beside mAP, 64 bits.", "", *lines] if lines else []


def nested(claims: Claims, command: str, comparison: Comparison) -> None:
    """Prefixes of one code against codes trained at that length, mean over lengths and directions."""
    own = tables.by_label(comparison)
    whole, first = own.get("SODA", {}), own.get("nested (ours)", {})
    losses: dict[Any, list[float]] = {}
    shorts = [bits for bits in (16, 32) if bits in whole and bits in first]
    for bits in shorts:
        trained, prefix = (observed(side[bits].results, "mean map") for side in (whole, first))
        for at in trained.keys() & prefix.keys():
            losses.setdefault(at, []).append(trained[at] - prefix[at])
    full = {at: float(np.mean(loss)) for at, loss in losses.items() if len(loss) == 2}
    if not full:
        return
    seeds = sorted(seed or 0 for _, seed in full)
    values = list(full.values())
    claims.add("nested codes: mean loss of the prefixes", command, float(np.mean(values)), "mAP", 0.005,
               below=True, seeds=seeds)  # fmt: skip
    if len(values) > 1:
        high = paired_test(values, [0.0] * len(values)).high
        claims.add("nested codes: upper end of its 95 % interval", command, high, "mAP", 0.01, below=True,
                   seeds=seeds)  # fmt: skip


def speed(claims: Claims, command: str, comparison: Comparison) -> None:
    """Seconds of one method at one length, evaluation included; two run side by side on two cores."""
    for label, own in tables.by_label(comparison).items():
        runs = [r for group in own.values() for r in group.results if "train" in r.seconds]
        if runs:
            seconds = [sum(r.seconds.values()) for r in runs]
            claims.add(
                f"{label}: seconds of a run with its evaluation", command, float(np.median(seconds)), "s",
                note=f"median of {len(runs)} runs, one thread each; best {min(seconds):.0f}, worst {max(seconds):.0f}",
            )  # fmt: skip
    rows = {label: own for label, own in tables.by_label(comparison).items() if {16, 32, 64} <= own.keys()}
    runs = [r for own in rows.values() for group in own.values() for r in group.results if (r.seed or 0) < 3]
    if runs:
        total = sum(sum(r.seconds.values()) for r in runs) / 2 / 3600
        claims.add("methods with all lengths, three draws, two runs at a time: hours", command, total, "h",
                   note=f"{len(rows)} methods, {len(runs)} runs of one thread, tuning apart")  # fmt: skip


def trials(claims: Claims, command: str, records: dict[str, Any]) -> list[str]:
    """The tuning record: as many trials for each, and what was chosen."""
    logs = [record for name, record in records.items() if name.startswith("tune/")]
    if not logs:
        return []
    done = [sum(t["score"] is not None for t in log["trials"]) for log in logs if log["chosen"] is not None]
    claims.add("trials of every method whose tuning is complete", command, min(done, default=0), "trials", TRIALS,
               note=f"{len(done)} of {len(logs)} methods")  # fmt: skip
    rows = []
    for log in logs:
        chosen = next((t for t in log["trials"] if t["trial"] == log["chosen"]), None)
        if chosen is not None:
            first = log["trials"][0]["score"] or 0.0
            settings = (
                ", ".join(f"`{k}` {v}" for k, v in chosen["settings"].items()) or "as the recipe has it"
            )
            rows.append(
                [log["row"], str(len(log["trials"])), f"{first:.4f}", f"{chosen['score']:.4f}", settings]
            )
    return ["Tuning (validation part of the fixed split, 64 bits):", "",
            *tables.table(["row", "trials", "recipe", "chosen", "settings"], rows)]  # fmt: skip


def page(claims: Claims, sections: list[list[str]]) -> str:
    versions, machine = environment()
    reading = Path(__file__).parent / "soda_reading.md"
    lines = [
        "# SODA and the hashing field, measured",
        "",
        f"Written by `benchmarks/soda_results.py` on {datetime.date.today()}; the same figures in `soda.json`.",
        f"Machine: {machine['processor']}, {machine['cores']} cores, bf16 {machine['bf16']}; torch {versions.get('torch')}.",
        "",
    ]
    if reading.is_file():
        lines += [reading.read_text(encoding="utf-8")]
    for section in sections:
        lines += [*section, ""]
    return "\n".join([*lines, "## Every figure", "", *claims.table(), ""])


if __name__ == "__main__":
    main()
