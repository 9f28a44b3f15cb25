"""Fit the table of a static text tower to a teacher's outputs, within a given size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers

from limbeck.encoders.config import StaticConfig
from limbeck.encoders.static import StaticBackbone
from limbeck.encoders.static_fit import fit_table, token_counts, vocabulary
from limbeck.encoders.static_refine import Loss, refine, squared
from limbeck.errors import LimbeckError

LEAST = 512
"""The smallest vocabulary for which there must be room."""
PENALTY = 0.1


def fit_static(
    texts: Sequence[str],
    targets: np.ndarray,
    pieces: tokenizers.Tokenizer | None,
    *,
    size: float,
    epochs: int,
    seed: int,
    units: int = 0,
    loss: Loss = squared,
) -> StaticBackbone:
    """Fit a table of token vectors to the outputs by ridge regression, then by gradient steps.

    Args:
        texts: the texts.
        targets: outputs of the teacher (N, dim).
        pieces: the teacher's WordPiece tokenizer, whose tokens the table shares; None trains one.
        size: the largest size of the table in megabytes.
        epochs: the number of passes of gradient steps.
        seed: shuffles the texts.
        units: the most hidden units of a correction, which takes at most a twentieth of the size.
        loss: the error that the gradient steps lower.

    Raises:
        LimbeckError: the size is too small.
    """
    room = Room.of(size, targets.shape[1], units)
    tokenizer = vocabulary(texts, room.tokens, pieces)
    fine = room.fine(tokenizer.get_vocab_size())
    counts = token_counts(tokenizer, texts)
    table = fit_table(counts, targets, penalty=PENALTY)
    table = refine(counts, targets, table, fine=fine, epochs=epochs, seed=seed, units=room.units, loss=loss)
    config = StaticConfig(dim=targets.shape[1], fine=fine, units=room.units, ball=table.ball is not None)
    backbone = StaticBackbone(config)
    backbone.use(tokenizer)
    backbone.set_table(table)
    return backbone


@dataclass(frozen=True)
class Room:
    """How many tokens fit into a table: a row takes ``width`` bytes at two bits per number, twice at four.

    Where room is short, a quarter of the rows has four bits.

    Attributes:
        bytes: the space for rows, weights and scales.
        width: the bytes of a row in two bits.
        tokens: the largest vocabulary.
        units: the hidden units of the correction.
    """

    bytes: int
    width: int
    tokens: int
    units: int

    @classmethod
    def of(cls, size: float, dim: int, units: int = 0) -> Room:
        """Return the room of a table of ``size`` megabytes.

        Raises:
            LimbeckError: the size is too small for the characters of a text.
        """
        width, rest = -(-dim // 4), 4 * (2 * dim + 1)  # bias, and centre and radius of a sphere
        units = min(units, int(size * 1e6 / 20) // (4 * dim + 4))
        rest += units * (4 * dim + 4)  # in half floats, but the shift
        room, per_token = int(1e6 * size) - rest, 1.25 * width + 8
        if room < LEAST * per_token:
            least = (LEAST * per_token + rest) / 1e6
            raise LimbeckError(
                f"--size {size:g}: is too small for width {dim}; give at least {least + 0.005:.2f}",
                code="E-OPTION-RANGE",
            )
        return cls(room, width, int(room / per_token), units)

    def fine(self, tokens: int) -> int:
        """Return how many of ``tokens`` rows can have four bits, at most all but the last (the padding)."""
        return min(tokens - 1, (self.bytes - tokens * (self.width + 8)) // self.width)
