"""Draw histograms of the distance from the root in a hyperbolic space."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from limbeck.reporting.chart import Chart, Key, Panel
from limbeck.reporting.style import Look, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SIZE = (3.6, 2.3)
BINS = 48


def radius_histograms(models: Mapping[str, Mapping[str, np.ndarray]]) -> Chart | None:
    """Draw histograms of radii, one panel per model, all on one scale; None without a model.

    ``models`` is label → kind ("pictures", "detailed captions", …) → radii (n,): distances from the root in
    units of 1/√curv, so models of different curvature are comparable. A kind has one colour in all panels.
    """
    kinds = {
        label: {kind: np.asarray(r, float) for kind, r in radii.items() if len(r)}
        for label, radii in models.items()
    }
    kinds = {label: radii for label, radii in kinds.items() if radii}
    if not kinds:
        return None
    look = looks(kind for by_kind in kinds.values() for kind in by_kind)
    farthest = max(float(radii.max()) for by_kind in kinds.values() for radii in by_kind.values())
    edges = np.linspace(0, 1.05 * max(farthest, 1e-6), BINS + 1)
    panels = [Panel(label, partial(_panel, by_kind, look, edges)) for label, by_kind in kinds.items()]
    return Chart("radii", panels, [Key(kind, style, "bar") for kind, style in look.items()], SIZE, columns=3)


def _panel(kinds: Mapping[str, np.ndarray], look: dict[str, Look], edges: np.ndarray, axis: Axes) -> None:
    for kind, radii in kinds.items():
        share = np.histogram(radii, edges)[0] / len(radii)
        axis.stairs(share, edges, fill=True, color=look[kind].color, alpha=0.22)
        axis.stairs(share, edges, color=look[kind].color, linewidth=1.6)
    axis.set(xlim=(0, edges[-1]), yticks=[], xlabel="distance from the root, in 1/√c", ylabel="share")
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)
