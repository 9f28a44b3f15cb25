"""The decoder of masked reconstruction: from kept tokens to dropped patches."""

from __future__ import annotations

import torch
from torch import nn

from limbeck.encoders.masking import dropped
from limbeck.errors import LimbeckError


class PatchDecoder(nn.Module):
    """A narrow transformer over kept tokens and mask tokens (MAE, He et al. 2022, section 3).

    As in MAE, it has a linear map to the decoder's width, one learned mask token, fixed sine positions in two
    dimensions, pre-norm blocks and a linear map to the output. What differs (ours): there is one block of
    width 96 by default, the class token is at position zero, and it predicts features unless ``out`` is set.

    Args:
        width: the width of the input tokens.
        grid: the number of patches along one side of the picture.
        decoder_width: the width of the blocks; a multiple of 4 (positions) and of ``heads``.
        layers: the number of blocks.
        heads: the number of attention heads per block.
        out: the width of a prediction; ``width`` if None.

    Raises:
        LimbeckError: ``decoder_width`` is not such a multiple.
    """

    mask_token: nn.Parameter
    positions: torch.Tensor

    def __init__(
        self,
        width: int,
        grid: int,
        decoder_width: int = 96,
        layers: int = 1,
        heads: int = 3,
        out: int | None = None,
    ) -> None:
        super().__init__()
        if decoder_width % 4 or decoder_width % heads:
            raise LimbeckError(
                f"decoder_width: {decoder_width} is not a multiple of 4 and of the {heads} heads; change one",
                code="E-CONFIG-VALUE",
            )
        self.patches = grid**2
        self.embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.randn(decoder_width) * 0.02)
        self.register_buffer("positions", sine_positions(grid, decoder_width), persistent=False)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                decoder_width,
                heads,
                dim_feedforward=4 * decoder_width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(decoder_width)
        self.head = nn.Linear(decoder_width, width if out is None else out)

    def forward(self, tokens: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Return (B, patches - K, out): predictions at the dropped patches, in the order of `dropped`.

        Args:
            tokens: (B, 1 + K, width), class token first (`Backbone.tokens`).
            keep: (B, K) int64, the patch of each token after the first.
        """
        x = self.embed(tokens)
        start = self.positions.new_zeros(len(keep), 1, self.positions.shape[1])
        x = x + torch.cat([start, self.positions[keep]], dim=1)
        # Blocks do not depend on the order of tokens, so the raster order need not be restored.
        gaps = self.mask_token + self.positions[dropped(keep, self.patches)]
        x = torch.cat([x, gaps.to(x.dtype)], dim=1)
        for block in self.blocks:
            x = block(x)
        predictions: torch.Tensor = self.head(self.norm(x[:, tokens.shape[1] :]))
        return predictions


def sine_positions(grid: int, width: int) -> torch.Tensor:
    """Return (grid * grid, width) fixed positions: sines and cosines, half the width each for row and column.

    The frequencies are 10000^(-4i / width), i = 0 … width / 4 - 1, as in MAE; patches are in raster order.
    """
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = axis.repeat_interleave(grid, dim=0), axis.repeat(grid, 1)
    return torch.cat([rows, columns], dim=1).float()
