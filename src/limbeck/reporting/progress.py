"""Draw validation scores against pairs and seconds, P@N, and all charts of a comparison in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluation.results import Result
from limbeck.files import STANDARD_OUTPUT, write_atomic
from limbeck.reporting import plots
from limbeck.reporting.chart import Chart, Key, Panel
from limbeck.reporting.style import Look, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


NAMES = {"pairs": "pairs seen", "seconds": "seconds of training"}


def quality_over(results: Sequence[Result]) -> Chart | None:
    """Draw the validation score against pairs seen and seconds: mean over seeds with a band of one s.d.

    Scores are interpolated linearly between validations. A mean is drawn only where all seeds have scores.
    Hash codes are shown at the length that most methods have, on a tie the longest. The chart is None without
    validation scores.
    """
    recorded = [result for result in results if result.progress]
    bits = plots.common_bits(recorded)
    series: dict[str, list[Result]] = {}
    for result in recorded:
        if result.bits in (None, bits):
            series.setdefault(result.label, []).append(result)
    if not series:
        return None
    look = looks(result.label for result in results)
    tail = f", {bits} bits" if bits else ""
    panels = [
        Panel(f"validation by {name}{tail}", partial(_panel, series, axis, look))
        for axis, name in NAMES.items()
    ]
    return Chart("quality", panels, [Key(label, look[label]) for label in series], plots.WIDE)


def _panel(series: dict[str, list[Result]], axis: str, look: dict[str, Look], place: Axes) -> None:
    for label, members in series.items():
        at, curves = common_curves(members, axis)
        style, mean = look[label], curves.mean(axis=0)
        place.plot(at, mean, color=style.color, marker=style.marker, linestyle=style.dash, markersize=4)
        if len(members) > 1:
            spread = curves.std(axis=0, ddof=1)
            place.fill_between(at, mean - spread, mean + spread, color=style.color, alpha=0.16, linewidth=0)
    place.set(xlabel=NAMES[axis], ylabel="validation score")


def common_curves(members: Sequence[Result], axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (P,) in the range of all runs, and the scores there, (runs, P)."""
    curves = [np.array(sorted((point[axis], point["score"]) for point in run.progress)) for run in members]
    low, high = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    at = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    at = at[(low <= at) & (at <= high)]
    if not len(at):  # the runs do not overlap: a mean over their positions would mix different seeds
        at = np.array([high])
    return at, np.stack([np.interp(at, curve[:, 0], curve[:, 1]) for curve in curves])


def write_figure(file: Path, results: Sequence[Result]) -> None:
    """Write all charts of a comparison in one ``.png`` or ``.svg``, or a PNG to standard output (``-``).

    The charts are validation scores over pairs and seconds; for hash codes also mAP by bits, precision–recall
    and P@N.

    Raises:
        LimbeckError: the suffix is wrong; the results have nothing to draw; matplotlib is not installed.
    """
    if file != STANDARD_OUTPUT and file.suffix not in (".png", ".svg"):
        raise LimbeckError(f"{file}: --figure needs a name that ends in .png or .svg", code="E-PATH-ENDING")
    makers = (quality_over, plots.map_against_bits, plots.precision_recall, plots.precision_at)
    charts = [chart for chart in (make(results) for make in makers) if chart is not None]
    if not charts:
        raise LimbeckError(
            f"{file}: nothing to draw: the results have neither curves nor validation scores; "
            "train and evaluate again",
            code="E-RESULT-MISSING",
        )
    legend: dict[str, Key] = {}
    for chart in charts:
        for key in chart.legend:
            legend.setdefault(key.label, key)
    whole = Chart(
        "comparison", [p for chart in charts for p in chart.panels], list(legend.values()), plots.WIDE
    )
    write_atomic(file, whole.svg() if file.suffix == ".svg" else whole.png())
