"""Draw charts of results: mAP against code length, precision–recall, bit balance, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.reporting.chart import Chart, Key, Panel
from limbeck.reporting.style import GRID, SOFT, Look, looks
from limbeck.typed import Json

if TYPE_CHECKING:
    from matplotlib.axes import Axes


ARROWS = {"i2t": "picture → text", "t2i": "text → picture"}
WIDE = (4.9, 3.3)
SMALL = (2.45, 1.75)
SIDES = {"database_image": Look("#0072b2", "", "-"), "database_text": Look("#d55e00", "", "-")}


def map_against_bits(results: Sequence[Result]) -> Chart | None:
    """Draw mAP against code length, one panel per direction, with mean and s.d. over seeds.

    Continuous embeddings are horizontal dotted lines. The floor of all-equal codes is a dashed line where it
    is near, and a note where it is far below. The chart is None without a hashing result.
    """
    hashing = [result for result in results if result.task == "hashing"]
    directions = [d for d in DIRECTIONS if any("map" in r.metrics.get(d, {}) for r in hashing)]
    if not directions:
        return None
    look = looks(result.label for result in hashing)
    values = [m["map"] for r in hashing for m in r.metrics.values() if "map" in m]
    room = max(0.02, 0.18 * (max(values) - min(values)))
    limits = (min(values) - 1.6 * room, max(values) + room)
    coded = {result.label for result in hashing if result.bits}
    legend = [Key(label, style, "line" if label in coded else "level") for label, style in look.items()]
    panels = [Panel(ARROWS[d], partial(_map_panel, hashing, d, look, limits)) for d in directions]
    return Chart("map-bits", panels, legend, WIDE)


def _map_panel(
    results: Sequence[Result], direction: str, look: dict[str, Look], limits: tuple[float, float], axis: Axes
) -> None:
    lengths = sorted({result.bits for result in results if result.bits})
    axis.set_ylim(*limits)
    _floor(axis, [r.metrics[direction]["floor"] for r in results if "floor" in r.metrics.get(direction, {})])
    for number, (label, style) in enumerate(look.items()):
        points = _by_bits(results, label, direction)
        if None in points:
            axis.axhline(float(np.mean(points.pop(None))), color=style.color, linestyle=(0, (1, 1.6)), lw=1.8)
        if points:
            bits = sorted(bits for bits in points if bits is not None)
            # Shift methods sideways, so that error bars of similar methods do not overlap.
            apart = min(0.035, 0.25 / len(look))  # octaves; many methods stay near their code length
            place = [b * 2 ** (apart * (number - (len(look) - 1) / 2)) for b in bits]
            axis.errorbar(
                place, [float(np.mean(points[b])) for b in bits],
                yerr=[float(np.std(points[b], ddof=1)) if len(points[b]) > 1 else 0.0 for b in bits],
                color=style.color, marker=style.marker, linestyle=style.dash, capsize=3.5, elinewidth=1.3,
            )  # fmt: skip
    if lengths:
        axis.set_xscale("log", base=2)
        axis.set_xticks(lengths, [str(bits) for bits in lengths])
        axis.set_xlim(lengths[0] / 1.3, lengths[-1] * 1.3)
        axis.minorticks_off()
    axis.set(xlabel="bits", ylabel="mAP@all")
    axis.grid(axis="x", visible=False)


def _floor(axis: Axes, levels: list[float]) -> None:
    if not levels:
        return
    level = float(np.mean(levels))
    low, high = axis.get_ylim()
    near = level > low - 0.35 * (high - low)
    if near:
        axis.set_ylim(min(low, level - 0.1 * (high - low)), high)
        axis.axhline(level, color=SOFT, linewidth=1.1, linestyle=(0, (4, 3)))
    axis.annotate(
        f"floor {level:.3f}" if near else f"floor {level:.3f}, below ↓",
        (0.99, level if near else low), xycoords=("axes fraction", "data"), color=SOFT, fontsize=9,
        xytext=(0, 4), textcoords="offset points", ha="right", va="bottom",
    )  # fmt: skip


def _by_bits(results: Sequence[Result], label: str, direction: str) -> dict[int | None, list[float]]:
    groups: dict[int | None, list[float]] = {}
    for result in results:
        if result.label == label and "map" in result.metrics.get(direction, {}):
            groups.setdefault(result.bits, []).append(result.metrics[direction]["map"])
    return groups


def precision_recall(results: Sequence[Result], bits: int | None = None) -> Chart | None:
    """Draw precision against recall for growing Hamming radius, one panel per direction, averaged over seeds.

    ``bits`` is by default the length that most methods have, on a tie the longest. The chart is None without
    such curves.
    """
    return _precision("precision-recall", results, bits, "recall", "precision")


def precision_at(results: Sequence[Result], bits: int | None = None) -> Chart | None:
    """Draw P@N as `precision_recall` draws precision."""
    return _precision("precision-at", results, bits, "ns", "precision_at")


def _precision(name: str, results: Sequence[Result], bits: int | None, x: str, y: str) -> Chart | None:
    curved = [r for r in results if any(y in curve for curve in r.curves.values())]
    bits = bits or common_bits(curved)
    shown = [result for result in curved if result.bits == bits]
    directions = [d for d in DIRECTIONS if any(d in result.curves for result in shown)]
    if not directions:
        return None
    present = {result.label for result in shown}
    look = {label: style for label, style in looks(r.label for r in results).items() if label in present}
    if x == "recall":
        look = {label: Look(style.color, "", style.dash) for label, style in look.items()}
    panels = [
        Panel(f"{ARROWS[d]}, {bits} bits", partial(_precision_panel, shown, d, look, x, y))
        for d in directions
    ]
    return Chart(name, panels, [Key(label, style) for label, style in look.items()], WIDE)


def _precision_panel(
    results: Sequence[Result], direction: str, look: dict[str, Look], x: str, y: str, axis: Axes
) -> None:
    for label, style in look.items():
        curves = [r.curves[direction] for r in results if r.label == label and direction in r.curves]
        if curves:
            places, means = (np.mean([curve[name] for curve in curves], axis=0) for name in (x, y))
            axis.plot(
                places, means, color=style.color, linestyle=style.dash, marker=style.marker, markersize=4
            )  # fmt: skip
    if x == "recall":
        axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02))
    else:
        axis.set_xscale("log")
        axis.set(xlabel="N", ylabel="P@N")


def common_bits(results: Sequence[Result]) -> int | None:
    """Return the code length that most methods have, on a tie the longest; None without codes."""
    labels: dict[int, set[str]] = {}
    for result in results:
        if result.bits:
            labels.setdefault(result.bits, set()).add(result.label)
    return max(labels, key=lambda bits: (len(labels[bits]), bits)) if labels else None


def bit_balance(results: Sequence[Result], bits: int | None = None) -> Chart | None:
    """Draw the share of ones per bit, sorted, for database pictures and texts; one half is ideal.

    There is one panel per method, for one code length and the method's first seed; None without statistics.
    """
    healthy = [result for result in results if any("ones" in part for part in result.health.values())]
    bits = bits or common_bits(healthy)
    shown: dict[str, Result] = {}
    for result in healthy:
        if result.bits == bits:
            shown.setdefault(result.label, result)
    if not shown:
        return None
    legend = [
        Key("picture codes", SIDES["database_image"], "bar"),
        Key("text codes", SIDES["database_text"], "bar"),
    ]
    panels = [Panel(f"{label}, {bits}", partial(_balance_panel, result)) for label, result in shown.items()]
    return Chart("bit-balance", panels, legend, SMALL, columns=4)


def _balance_panel(result: Result, axis: Axes) -> None:
    for part, style in SIDES.items():
        ones = result.health.get(part, {}).get("ones")
        if isinstance(ones, list):
            share = np.sort(np.asarray(ones))
            edges = np.arange(len(ones) + 1)
            # Steps without gaps: single bars of 64 bits would overlap in a small panel.
            axis.stairs(share, edges, baseline=0.5, fill=True, color=style.color, alpha=0.3)
            axis.stairs(share, edges, baseline=None, color=style.color, linewidth=1.6)
    axis.axhline(0.5, color=SOFT, linewidth=1.0)
    axis.set(ylim=(0, 1), yticks=[0, 0.5, 1], xticks=[], xlabel="bits, sorted")
    axis.set_ylabel("share of ones")


def learning_curves(curves: dict[str, list[dict[str, Json]]], column: str = "loss") -> Chart | None:
    """Draw one column of ``metrics.jsonl`` by step, one small panel per run and one colour per stage.

    ``curves`` holds the rows of each run; runs without the column are left out. Without any, return None.
    """
    series = {name: stage_series(rows, column) for name, rows in curves.items()}
    series = {name: stages for name, stages in series.items() if stages}
    if not series:
        return None
    look = looks(stage for run in series.values() for stage in run)
    legend = [Key(s, Look(style.color, "", "-")) for s, style in look.items() if s]
    ends = _shared_limits(series) if column != "loss" else None
    panels = [Panel(name, partial(_learning_panel, run, look, ends)) for name, run in series.items()]
    return Chart(f"learning-{column.replace('/', '-').replace('@', '')}", panels, legend, SMALL, columns=4)


def _shared_limits(series: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]) -> tuple[float, float]:
    """Return one y range for all panels: scores of different runs are comparable, losses are not."""
    values = np.concatenate([values for run in series.values() for _, values in run.values()])
    room = max(0.06 * float(np.ptp(values)), 1e-3)
    return float(values.min()) - room, float(values.max()) + room


def _learning_panel(
    run: dict[str, tuple[np.ndarray, np.ndarray]],
    look: dict[str, Look],
    limits: tuple[float, float] | None,
    axis: Axes,
) -> None:
    end = 0.0
    for stage, (steps, values) in run.items():
        if end:
            axis.axvline(end, color=GRID, linewidth=1.0, zorder=0)
        mark = look[stage].marker if len(steps) < 12 else ""
        place = steps + (end if steps[0] < end else 0.0)  # a stage that counts from 0 follows the one before
        axis.plot(place, values, color=look[stage].color, linewidth=1.6, marker=mark, markersize=4)
        end = float(place[-1])
    if limits is not None:
        axis.set_ylim(*limits)
    axis.locator_params(nbins=4)
    axis.set_xlabel("step")
    axis.grid(axis="x", visible=False)


def stage_series(
    rows: Sequence[dict[str, Json]], column: str, most: int = 160
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return steps and values of one column per stage, averaged to at most ``most`` points."""
    logged: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows):
        value, step = row.get(column), row.get("step", number)
        if isinstance(value, int | float) and isinstance(step, int | float):
            logged.setdefault(str(row.get("stage", "")), []).append((step, value))
    series = {}
    for stage, points in logged.items():
        values = np.asarray(points, float)
        values = values[np.isfinite(values).all(axis=1)]
        if len(values):
            parts = np.array_split(values, min(most, len(values)))
            thin = np.stack([part.mean(axis=0) for part in parts])
            series[stage] = (thin[:, 0], thin[:, 1])
    return series
