"""Relaxed codes of the whole training set, kept between steps (DCMH, MITH): S against all, not a batch."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from limbeck.methods.base import State

# Codes move fast at first: what was kept an epoch ago misleads, and little is learnt (measured with Adam on
# MIRFlickr). So the first epochs compare with the batch alone (ours; the papers do not wait).
WARMUP_EPOCHS = 2


class CodeBuffer(nn.Module):
    """Last codes and labels of every training item.

    Codes (B, p) of fewer bits than it keeps are compared with the first p and not written.

    Rows start at zero and so say nothing before they were seen (the papers draw them at random; ours).

    Args:
        rows: of the training set.
        bits: of a code.
        classes: width of the labels.
        sides: names of the code sets, ``image`` and ``text`` say.
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
        """Codes (n, bits) of a side, without gradient."""
        return cast(torch.Tensor, getattr(self, f"codes_{side}"))

    def codes(self, side: str, batch: torch.Tensor, state: State) -> torch.Tensor:
        """Codes (n, bits) to compare with: all kept ones; in the first epochs those of the batch."""
        return batch.detach() if state.epoch < WARMUP_EPOCHS else self[side][:, : batch.shape[1]]

    def known(self, batch: torch.Tensor, state: State) -> torch.Tensor:
        """Labels (n, C) of these."""
        return batch if state.epoch < WARMUP_EPOCHS else self.labels

    @torch.no_grad()
    def write(self, rows: torch.Tensor, labels: torch.Tensor, **codes: torch.Tensor) -> None:
        """Keep the codes (B, bits) and labels (B, C) of some rows (B,)."""
        self.labels[rows] = labels.to(self.labels)
        for side, values in codes.items():
            if values.shape[1] == self[side].shape[1]:  # of a nested code the whole comes first
                self[side][rows] = values.detach().to(self.labels)

    def with_batch(self, side: str, rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """All codes (n, bits) of a side, with gradient in the rows of the batch."""
        return self[side][:, : codes.shape[1]].clone().index_copy(0, rows, codes.to(self.labels))
