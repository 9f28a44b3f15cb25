"""Skip steps whose loss or gradient norm is far above its running median."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from limbeck.training.checkpoint import Extra

WINDOW, FEWEST = 100, 20
"""Steps that the median is taken over, and steps that must precede the first skip."""


class SpikeState(TypedDict):
    """The last losses and gradient norms, and the number of skipped steps."""

    losses: list[float]
    norms: list[float]
    skipped: int


class Spikes:
    """Decide which steps change no weight (ours).

    A step is skipped if its gradient norm exceeds ``factor`` times the median norm, or if its loss exceeds
    the median loss by ``factor`` times the median deviation, and by the median itself. Skipped steps stay in
    the window: after half a window of high values these are the new level, and training goes on.

    Attributes:
        factor: None skips nothing.
        state: what a checkpoint stores.
    """

    def __init__(self, factor: float | None, extra: Extra, agree: Callable[[bool], bool] = bool) -> None:
        """Continue from ``extra["spikes"]`` of a checkpoint, or begin there.

        ``agree`` returns the first process's decision, so that rounding cannot make the weights differ.
        """
        self.factor, self.agree = factor, agree
        if factor is not None:
            self.state = extra.setdefault("spikes", {"losses": [], "norms": [], "skipped": 0})

    @property
    def figures(self) -> dict[str, float]:
        """The number of skipped steps so far, as a figure to log; nothing where no step is ever skipped."""
        return {} if self.factor is None else {"skipped_spikes": self.state["skipped"]}

    def skips(self, loss: float, norm: float) -> bool:
        """Return whether to skip a step of this global loss and gradient norm; all processes agree."""
        if self.factor is None:
            return False
        losses, norms = self.state["losses"], self.state["norms"]
        spike = len(losses) >= FEWEST and (
            norm > self.factor * statistics.median(norms) or self._is_high(loss, losses)
        )
        spike = self.agree(spike)
        for values, new in ((losses, loss), (norms, norm)):
            values.append(new)
            del values[:-WINDOW]
        self.state["skipped"] += spike
        return spike

    def _is_high(self, loss: float, losses: list[float]) -> bool:
        assert self.factor is not None
        median = statistics.median(losses)
        spread = statistics.median(abs(value - median) for value in losses)
        return loss - median > max(self.factor * spread, abs(median))
