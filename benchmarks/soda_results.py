"""Write docs/results/soda.json, soda.md and their plots from the rows that the grids left.

    limbeck grid soda/grid-mirflickr --data runs/mirflickr --out runs/soda-field --jobs 2
    limbeck grid soda/grid-mirflickr-controls --data runs/mirflickr --out runs/soda-controls --jobs 2
    limbeck grid soda/grid-mirflickr-folds --data runs/mirflickr --out runs/soda-folds --jobs 2
    limbeck grid soda/grid-prompts --data runs/mirflickr --out runs/soda-prompts --jobs 2
    limbeck grid soda/grid-pixels --data runs/mirflickr --out runs/soda-pixels --jobs 2
    python benchmarks/clip_names.py FEATURES && limbeck grid runs/clip-names/grid.yaml --data runs/mirflickr
    python benchmarks/soda_results.py [--rows docs/results/rows]

A grid without a row yet is left out. Claims that other programs wrote to docs/results/parts/soda-*.json (lists of
rows as in soda.json) are taken in; benchmarks/soda_reading.md is the text above the tables.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import soda_prompts
import soda_tables as tables
from claims import Claims
from limbeck.evaluation import Result, compare, environment
from limbeck.evaluation.compare import Comparison
from limbeck.files import read_json, write_atomic, write_json
from limbeck.metrics import paired_test
from limbeck.reporting.progress import write_figure

OUT = Path("docs/results")
WAYS = ("i2t", "t2i")
GRID = "limbeck grid soda/grid-{} --data runs/mirflickr"
# MITH's published figures (CLIP towers, the full set): the aim, not a comparison on equal terms.
MITH = {("i2t", 16): 0.846, ("i2t", 32): 0.865, ("i2t", 64): 0.872}
MITH |= {("t2i", 16): 0.823, ("t2i", 32): 0.839, ("t2i", 64): 0.847}
FLOORS = ("ITQ (no labels)", "signs (no labels)")
PAIRS_PER_RUN_S = 40.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, default=OUT / "rows")
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
        folder = options.rows / f"soda-{name}"
        files = sorted(folder.glob("*-s[0-9]*.json"))
        if files:
            labels = {Result.load(file).label for file in files}
            comparison = compare(files, base=base if base in labels else None)
            sections.append([f"## Grid `soda/grid-{name}`", "", *told(claims, comparison, options, name)])
    for part in sorted((OUT / "parts").glob("soda-*.json")):
        claims.rows += read_json(part)
    write_json(options.out / "soda.json", claims.rows)
    write_atomic(options.out / "soda.md", page(claims, sections))
    print(f"{sum(row['met'] for row in claims.rows)} of {len(claims.rows)} met")


def field(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """The field's table: figures, gaps, speed, tuning."""
    command = GRID.format(name)
    figures(claims, command, comparison)
    gaps(claims, command, comparison)
    nested(claims, command, comparison)
    speed(claims, command, comparison)
    lines = trials(claims, command, options.rows / f"soda-{name}" / "tune")
    figure = options.out / f"soda-{name}.svg"
    write_figure(figure, [result for group in comparison.groups for result in group.results])
    long = max((bits for bits in tables.lengths(comparison) if bits), default=64)
    note = "mAP over the whole database, mean ± s.d. over draws; bold: best of a length."
    return [
        f"Protocols {comparison.protocol}. {note}", "", *tables.means(comparison), "",
        *minus(comparison), f"![mAP by bits, precision by recall, P@N]({figure.name})", "",
        f"Beside mAP, {long} bits (unseen: without trained items in the database):", "",
        *tables.beside(comparison, long), "", *lines,
    ]  # fmt: skip


def minus(comparison: Comparison) -> list[str]:
    if comparison.base is None:
        return []
    note = "Paired by draw and seed, 95 % t interval; * p < .05 after Holm's correction over this table."
    return [note, "", *tables.differences(comparison), ""]


def controls(claims: Claims, comparison: Comparison, options: argparse.Namespace, name: str) -> list[str]:
    """What each part of SODA does."""
    command = GRID.format(name)
    figures(claims, command, comparison)
    for label, own in tables.by_label(comparison).items():
        for bits, group in own.items():
            found = group.differences.get("mean map")
            if found is not None:
                hurts = label == "permuted-labels"
                claims.add(
                    f"{label} minus soda, {bits} bits, mean of both directions", command, found.mean, "mAP",
                    -0.05 if hurts else None, below=hurts, seeds=found.seeds, note=interval(found),
                )  # fmt: skip
    return ["", *tables.means(comparison), "", *minus(comparison)]


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
    lines = soda_prompts.names(
        claims, comparison, "limbeck grid runs/clip-names/grid.yaml --data runs/mirflickr"
    )
    return [*lines, *minus(comparison)]


def figures(claims: Claims, command: str, comparison: Comparison, what: str = "") -> None:
    for label, own in tables.by_label(comparison).items():
        for bits, group in own.items():
            for way in WAYS:
                values = group.values[f"{way} map"]
                spread = f"s.d. {np.std(values, ddof=1):.4f}" if len(values) > 1 else "one run"
                unseen = group.values.get(f"{way} map_unseen")
                more = f"; items not trained on {np.mean(unseen):.4f}" if unseen else ""
                name = f"{what}{label}, {f'{bits} bits' if bits else 'floats'}, {way} mAP"
                above = 0.557 if bits and label not in ("permuted-labels", *FLOORS) else None
                seeds = [seed or 0 for seed in group.seeds]
                claims.add(
                    name, command, group.mean(f"{way} map"), "mAP", above, seeds=seeds, note=spread + more
                )


def gaps(claims: Claims, command: str, comparison: Comparison) -> None:
    """SODA against each rival with its interval, against the floats, against MITH's published figures."""
    own = tables.by_label(comparison)
    for label, groups in own.items():
        for bits, group in groups.items():
            found = group.differences.get("mean map")
            if found is not None:
                claims.add(
                    f"SODA minus {label}, {bits} bits, mean of both directions", command, -found.mean, "mAP",
                    seeds=found.seeds, note=interval(found, -1),
                )  # fmt: skip
    coded = {
        label: groups for label, groups in own.items() if label in ("SODA", "nested (ours)", "no teacher")
    }
    floats = own.get("floats", {}).get(None)
    for label, groups in coded.items():
        for bits, group in groups.items():
            if floats is not None and bits:
                difference(
                    claims, command, f"{label} minus floats, {bits} bits", group.results, floats.results
                )
    for (way, bits), published in MITH.items():
        ours = [(groups[bits].mean(f"{way} map"), label) for label, groups in coded.items() if bits in groups]
        if ours:
            value, label = max(ours)
            note = f"{label}; MITH's paper has {published}, with CLIP on the full set"
            claims.add(
                f"ours minus MITH as published, {bits} bits, {way}",
                command,
                value - published,
                "mAP",
                0.0,
                note=note,
            )


def difference(
    claims: Claims, command: str, claim: str, own: Sequence[Result], other: Sequence[Result], **bar: Any
) -> None:
    """Mean of both directions, paired by draw and seed."""
    values = [{r.observation: r.mean("map") or 0.0 for r in results} for results in (own, other)]
    shared = [at for at in values[0] if at in values[1]]
    if shared:
        pairs = [[side[at] for at in shared] for side in values]
        low, high = ends(pairs[0], pairs[1])
        claims.add(
            claim, command, float(np.mean(pairs[0]) - np.mean(pairs[1])), "mAP",
            seeds=[seed or 0 for _, seed in shared], note=f"95 % interval {low:+.4f} to {high:+.4f}", **bar,
        )  # fmt: skip


def ends(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    if len(one) < 2:
        return float("nan"), float("nan")
    found = paired_test(one, other)
    return found.low, found.high


def interval(found: Any, sign: int = 1) -> str:
    if found.low is None:
        return "one run each"
    low, high = sorted((sign * found.low, sign * found.high))
    return f"95 % interval {low:+.4f} to {high:+.4f}"


def nested(claims: Claims, command: str, comparison: Comparison) -> None:
    """Prefixes of one code against codes trained at that length, mean over lengths and directions."""
    own = tables.by_label(comparison)
    whole, first = own.get("SODA", {}), own.get("nested (ours)", {})
    shorts = [bits for bits in (16, 32) if bits in whole and bits in first]
    losses: dict[Any, list[float]] = {}
    for bits in shorts:
        difference(claims, command, f"codes of {bits} bits minus the first {bits} of nested ones",
                   whole[bits].results, first[bits].results, bar=0.01, below=True)  # fmt: skip
        prefix = {r.observation: r.mean("map") or 0.0 for r in first[bits].results}
        for result in whole[bits].results:
            if result.observation in prefix:
                losses.setdefault(result.observation, []).append(
                    (result.mean("map") or 0.0) - prefix[result.observation]
                )
    full = [float(np.mean(loss)) for loss in losses.values() if len(loss) == len(shorts)]
    if shorts and full:
        seeds = [seed or 0 for _, seed in losses]
        claims.add(
            "nested codes: mean loss of the prefixes",
            command,
            float(np.mean(full)),
            "mAP",
            0.005,
            below=True,
            seeds=seeds,
        )
        high = ends(full, [0.0] * len(full))[1]
        if len(full) > 1:
            claims.add(
                "nested codes: upper end of its 95 % interval",
                command,
                high,
                "mAP",
                0.01,
                below=True,
                seeds=seeds,
            )


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


def trials(claims: Claims, command: str, folder: Path) -> list[str]:
    """The tuning record: as many trials for each, and what was chosen."""
    logs = [read_json(file) for file in sorted(folder.glob("*.json"))]
    if not logs:
        return []
    counts = {log["row"]: len(log["trials"]) for log in logs}
    claims.add("trials of every tuned method", command, min(counts.values()), "trials", max(counts.values()))
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
