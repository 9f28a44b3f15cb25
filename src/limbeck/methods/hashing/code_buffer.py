"""Relaxed codes of the whole training set, kept between steps (DCMH, MITH), since S covers all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from limbeck.methods.base import LabeledEmbeddings, TrainState

# Codes move fast at first: what was kept one epoch ago misleads, and little is learnt (measured with Adam on
# MIRFlickr). So the first epochs compare with the batch alone (ours; the papers do not wait).
WARMUP_EPOCHS = 2


@dataclass
class BufferedEmbeddings(LabeledEmbeddings):
    """Embeddings, labels, and the positions ``rows`` (B,) of the pairs in the training set.

    ``rows`` is None where a method's buffer is switched off.
    """

    rows: torch.Tensor | None = None


class CodeBuffer(nn.Module):
    """The last codes and labels of every training pair.

    Rows start at zero and so have no effect before they are seen (ours; the papers draw them at random).
    Codes of fewer bits than the buffer keeps are compared with its first bits.

    Args:
        rows: number of training pairs.
        bits: length of a code.
        classes: number of label columns.
        sides: names of the code sets, such as ``image`` and ``text``.
    """

    labels: torch.Tensor

    def __init__(
        self, rows: int, bits: int, classes: int, sides: tuple[str, ...] = ("image", "text")
    ) -> None:
        super().__init__()
        self.register_buffer("labels", torch.zeros(rows, classes))
        for side in sides:
            self.register_buffer(f"codes_{side}", torch.zeros(rows, bits))

    def __getitem__(self, side: str) -> torch.Tensor:
        """Return the codes (rows, bits) of one side, without gradient."""
        return cast(torch.Tensor, getattr(self, f"codes_{side}"))

    @torch.no_grad()
    def write(self, rows: torch.Tensor, labels: torch.Tensor, **codes: torch.Tensor) -> None:
        """Store the codes (B, bits) by side and labels (B, C) of some rows (B,)."""
        self.labels[rows] = labels.to(self.labels)
        for side, values in codes.items():
            self[side][rows] = values.detach().to(self.labels)

    def codes(self, side: str, batch: torch.Tensor, state: TrainState) -> torch.Tensor:
        """Return the codes (n, bits) to compare with: all kept ones, or in the first epochs the batch's."""
        return batch.detach() if state.epoch < WARMUP_EPOCHS else self[side][:, : batch.shape[1]]

    def known_labels(self, batch: torch.Tensor, state: TrainState) -> torch.Tensor:
        """Return the labels (n, C) of those codes."""
        return batch if state.epoch < WARMUP_EPOCHS else self.labels

    def with_batch(self, side: str, rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return all codes (rows, bits) of one side, with gradient in the rows of the batch."""
        return self[side][:, : codes.shape[1]].clone().index_copy(0, rows, codes.to(self.labels))
