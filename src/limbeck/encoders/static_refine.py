"""Train a fitted table further: rows as they are stored, weights and bias, by gradient steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from limbeck.encoders.packed_rows import rounded
from limbeck.encoders.static import Correction, StaticTable

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BATCH = 1024
RATE, WEIGHT_RATE, UNIT_RATE = 0.04, 0.02, 2e-3
"""The first steps of Adam: of rows and bias, relative to the targets' spread, of the logs of weights, and of
the correction."""

Loss = Callable[[torch.Tensor, torch.Tensor, np.ndarray], torch.Tensor]
"""From outputs (B, dim), their targets and the numbers of the texts to a number."""


def squared(output: torch.Tensor, target: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Return the mean squared error."""
    return (output - target).square().sum(1).mean()


def refine(
    counts: csr_matrix,
    targets: np.ndarray,
    table: StaticTable,
    *,
    fine: int,
    epochs: int,
    seed: int,
    units: int = 0,
    loss: Loss = squared,
) -> StaticTable:
    """Minimise the error of a table's outputs over texts; the ridge knows neither weights nor correction.

    The rows are rounded in each step, as `StaticBackbone.set_table` will round them, and the gradient passes
    through the rounding.

    Args:
        counts: token counts (N, V).
        targets: outputs of the teacher (N, dim).
        table: the fitted table; tokens without weight keep none.
        fine: the number of tokens, the first ones, with four bits per number; the others have two.
        epochs: the number of passes over the texts.
        seed: shuffles the texts and draws the first correction.
        units: the hidden units of a correction; 0 for none.
        loss: the error.
    """
    known = torch.from_numpy(table.weight > 0)
    rows = nn.Parameter(torch.from_numpy(table.rows.copy()))
    bias = nn.Parameter(torch.from_numpy(table.bias.copy()))
    logs = nn.Parameter(torch.from_numpy(table.weight).clamp_min(1e-6).log())
    generator = torch.Generator().manual_seed(seed)
    inner = nn.Parameter(torch.randn(units, rows.shape[1], generator=generator) * rows.shape[1] ** -0.5)
    shift, outer = nn.Parameter(torch.zeros(units)), nn.Parameter(torch.zeros(rows.shape[1], units))
    rates = (RATE * float(targets.std()), WEIGHT_RATE, UNIT_RATE)
    parts: list[list[nn.Parameter]] = [[rows, bias], [logs], [inner, shift, outer]]
    groups = [{"params": part, "lr": rate} for part, rate in zip(parts, rates, strict=True)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    batches = shuffled(counts.shape[0], BATCH, epochs, seed)
    for step, batch in enumerate(batches):
        ids, first, amounts = _bags(counts[batch])
        own, places = ids.unique(return_inverse=True)
        weight = logs[ids].exp() * known[ids] * amounts
        length = torch.diff(first, append=torch.tensor([len(ids)]))
        total = torch.segment_reduce(weight, "sum", lengths=length, unsafe=True).clamp_min(1e-9)
        stored = rows[own]
        border = int((own < fine).sum())  # `own` is sorted
        stored = torch.cat([rounded(stored[:border], 4), rounded(stored[border:], 2)])
        means = functional.embedding_bag(places, stored, first, mode="sum", per_sample_weights=weight)
        output = means / total[:, None]
        if units:
            output = output + (output @ inner.T + shift).relu() @ outer.T
        output = output + bias
        if table.ball is not None:
            centre = torch.from_numpy(table.ball.centre)
            output = centre + table.ball.radius * functional.normalize(output - centre)
        error = loss(output, torch.from_numpy(targets[batch]), batch)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / len(batches))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    found = (logs.detach().exp() * known).numpy()
    correction = Correction(*(x.detach().numpy() for x in (inner, shift, outer))) if units else None
    return StaticTable(rows.detach().numpy(), found, bias.detach().numpy(), table.ball, correction)


def shuffled(count: int, size: int, epochs: int, seed: int) -> list[np.ndarray]:
    """Return the batches of several passes over ``count`` rows, of nearly equal size, at most ``size``."""
    orders = [np.random.default_rng((seed, epoch)).permutation(count) for epoch in range(epochs)]
    return [part for order in orders for part in np.array_split(order, -(-count // size))]


def _bags(counts: csr_matrix) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the tokens of all texts in a row, the place where each text begins, and the counts."""
    ids, first = (torch.from_numpy(x.astype(np.int64)) for x in (counts.indices, counts.indptr[:-1]))
    return ids, first, torch.from_numpy(counts.data)
