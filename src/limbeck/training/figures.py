"""Figures that show the health of training, logged beside loss and monitors."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from limbeck.data.batches import Batch

if TYPE_CHECKING:
    from limbeck.training.checkpoint import Extra

_ROWS = 256
"""Rows of a batch whose inputs are compared, which bounds the cost."""


def batch_figures(batch: Batch) -> dict[str, float]:
    """Return figures of a batch that reveal faults of the data.

    ``distinct/INPUT`` is the share of different pictures or texts, ``label_share`` the share of rows with the
    most frequent label, and ``batch`` a number that two batches share only if they hold the same pairs.
    """
    found: dict[str, float] = {"batch": zlib.crc32("\n".join(sorted(batch.ids)).encode())}
    seen: dict[str, torch.Tensor] = {}
    for name, rows in batch.tensors():
        head = name.partition(".")[0]
        if head in ("image", "text") and rows.ndim > 1 and len(rows) == len(batch):
            seen.setdefault(head, rows)
    for name, rows in seen.items():
        found[f"distinct/{name}"] = _distinct(rows[:_ROWS])
    if batch.labels is not None and batch.labels.shape[1]:
        found["label_share"] = float(batch.labels.float().mean(0).max())
    return found


def _distinct(rows: torch.Tensor) -> float:
    """Return the share of different rows, by a weighted sum of each."""
    flat = rows.detach().flatten(1).float()
    weights = torch.linspace(1, 2, flat.shape[1], device=flat.device)
    return len((flat @ weights).unique()) / len(flat)


class WeightGrowth:
    """The length of all trained weights now, in units of their length at the start of the stage."""

    def __init__(self, parameters: Sequence[torch.Tensor], extra: Extra) -> None:
        """Continue from ``extra["weights_at_start"]`` of a checkpoint, or measure the start."""
        self.parameters = [p for p in parameters if p.ndim >= 2]  # gains and scalars would hide the matrices
        self.start = float(extra.setdefault("weights_at_start", self._length()))

    def __call__(self) -> dict[str, float]:
        """Return the figure to log, or nothing where no matrix is trained."""
        return {"weight_growth": self._length() / self.start} if self.start > 0 else {}

    @torch.no_grad()
    def _length(self) -> float:
        if not self.parameters:
            return 0.0
        length = float(torch.nn.utils.get_total_norm(self.parameters))
        return length if math.isfinite(length) else 0.0
