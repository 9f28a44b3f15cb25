"""How far from the root the points of a hyperbolic space lie, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from limbeck.reporting.chart import Chart, Key, Panel
from limbeck.reporting.style import Look, looks

SIZE = (3.6, 2.3)
BINS = 48


def radius_histograms(models: Mapping[str, Mapping[str, np.ndarray]]) -> Chart | None:
    """Histograms of radii, one panel a model, all on one scale.

    Args:
        models: label → kind ("pictures", "detailed captions", …) → radii (n,), distances from the root in
            units of 1/√curv, so that models of different curvature compare. A kind keeps its colour.

    Returns:
        None without a model.
    """
    kinds = {
        label: {k: np.asarray(r, float) for k, r in own.items() if len(r)} for label, own in models.items()
    }
    kinds = {label: own for label, own in kinds.items() if own}
    if not kinds:
        return None
    look = looks(kind for own in kinds.values() for kind in own)
    farthest = max(float(radii.max()) for own in kinds.values() for radii in own.values())
    edges = np.linspace(0, 1.05 * max(farthest, 1e-6), BINS + 1)
    panels = [Panel(label, partial(_panel, own, look, edges)) for label, own in kinds.items()]
    return Chart("radii", panels, [Key(kind, style, "bar") for kind, style in look.items()], SIZE, columns=3)


def _panel(kinds: Mapping[str, np.ndarray], look: dict[str, Look], edges: np.ndarray, axis: Any) -> None:
    for kind, radii in kinds.items():
        share = np.histogram(radii, edges)[0] / len(radii)
        axis.stairs(share, edges, fill=True, color=look[kind].color, alpha=0.22)
        axis.stairs(share, edges, color=look[kind].color, linewidth=1.6)
    axis.set(xlim=(0, edges[-1]), yticks=[], xlabel="distance from the root, in 1/√c", ylabel="share")
    axis.spines["left"].set_visible(False)
    axis.grid(axis="y", visible=False)
