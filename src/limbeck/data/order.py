"""The order in which training sees the pairs: a function of seed and step alone (ours).

Neither the number of processes nor that of decoding threads changes it, and a step number is all that a
resume needs.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from limbeck.errors import LimbeckError

_BLOCKS = 8
"""Blocks of consecutive pairs per window: fewer mix less, more read shorter runs of a shard."""


@dataclass
class Order:
    """The positions of every global batch.

    Every epoch is a permutation of all pairs. With ``remainder: drop`` an epoch ends with its last whole
    batch. With ``carry`` the rest begins the next epoch's first batch, so that every pair comes once per
    epoch; no batch contains a pair twice.

    A ``window`` bounds how far a pair moves: blocks of consecutive pairs come in random order, and each pair
    moves on by at most ``window`` pairs. Reads of shards then stay within a few runs at a time.

    Attributes:
        count: the number of pairs.
        batch_size: the pairs of a global batch, at most ``count``.
        seed: the seed of all epochs.
        remainder: what happens with the pairs that do not fill a batch.
        window: the number of pairs that are mixed at a time; None mixes all.
    """

    count: int
    batch_size: int
    seed: int
    remainder: Literal["drop", "carry"] = "drop"
    window: int | None = None
    _known: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.remainder == "carry" and self.count < 3 * self.batch_size and self.count % self.batch_size:
            raise LimbeckError(
                f"schedule.remainder: carry needs at least three batches an epoch, but {self.count:,} pairs "
                f"make {self.count / self.batch_size:.1f} of {self.batch_size:,}; lower schedule.batch_size, "
                "or set drop",
                code="E-CONFIG-VALUE",
            )

    @property
    def steps_per_epoch(self) -> int:
        """The number of whole batches in an epoch."""
        return self.count // self.batch_size

    def steps(self, epochs: float) -> int:
        """Return the number of steps that a number of epochs takes."""
        if self.remainder == "drop":
            return math.ceil(epochs * self.steps_per_epoch)
        return math.ceil(epochs * self.count / self.batch_size)

    def epoch(self, step: int) -> int:
        """Return the epoch of the first pair of a step."""
        if self.remainder == "drop":
            return step // self.steps_per_epoch
        return step * self.batch_size // self.count

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions and the epochs of the pairs of a step, both int64 (batch_size,)."""
        epoch, size = self.epoch(step), self.batch_size
        if self.remainder == "drop":
            start = (step % self.steps_per_epoch) * size
            return self._order(epoch)[start : start + size], np.full(size, epoch)
        start = step * size - epoch * self.count
        first = self._order(epoch)[start : start + size]
        rest = size - len(first)
        if not rest:
            return first, np.full(size, epoch)
        both = np.concatenate([first, self._order(epoch + 1)[:rest]])
        return both, np.repeat([epoch, epoch + 1], [len(first), rest])

    def _order(self, epoch: int) -> np.ndarray:
        with self._lock:
            if epoch not in self._known:
                carried = (epoch * self.count) % self.batch_size if self.remainder == "carry" else 0
                order = self._drawn(epoch)
                if carried:
                    self._apart(order, self._drawn(epoch - 1)[-carried:])
                kept = {e: known for e, known in self._known.items() if abs(e - epoch) == 1}
                self._known = kept | {epoch: order}
            return self._known[epoch]

    def _drawn(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        if self.window is None:
            return rng.permutation(self.count)
        block = max(1, self.window // _BLOCKS)
        starts = rng.permutation(-(-self.count // block)) * block
        runs = (starts[:, None] + np.arange(block)).reshape(-1)
        runs = runs[runs < self.count]
        return runs[np.argsort(np.arange(self.count) + rng.random(self.count) * self.window, kind="stable")]

    def _apart(self, order: np.ndarray, carried: np.ndarray) -> None:
        """Move carried pairs out of the rest of their batch, in place.

        The last ``batch_size`` places stay as drawn, so that the next epoch does not depend on this.
        """
        head = self.batch_size - len(carried)
        twice = np.flatnonzero(np.isin(order[:head], carried))
        free = head + np.flatnonzero(~np.isin(order[head : self.count - self.batch_size], carried))
        other = free[: len(twice)]
        order[twice], order[other] = order[other], order[twice]
