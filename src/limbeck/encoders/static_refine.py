"""Train a fitted table further: rows as they are stored, weights and bias, by gradient steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from limbeck.encoders.packed_rows import rounded
from limbeck.encoders.static import StaticTable

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BATCH = 1024
RATE, WEIGHT_RATE = 0.04, 0.02
"""The first steps of Adam: of rows and bias, relative to the targets' spread, and of the logs of weights."""


def refine(
    counts: csr_matrix, targets: np.ndarray, table: StaticTable, *, fine: int, epochs: int, seed: int
) -> StaticTable:
    """Minimise the mean squared error of a table's outputs over texts, which the ridge cannot do for weights.

    The rows are rounded in each step, as `StaticBackbone.set_table` will round them, and the gradient passes
    through the rounding.

    Args:
        counts: token counts (N, V).
        targets: outputs of the teacher (N, dim).
        table: the fitted table; tokens without weight keep none.
        fine: the number of tokens, the first ones, with four bits per number; the others have two.
        epochs: the number of passes over the texts.
        seed: shuffles the texts.
    """
    known = torch.from_numpy(table.weight > 0)
    rows = nn.Parameter(torch.from_numpy(table.rows.copy()))
    bias = nn.Parameter(torch.from_numpy(table.bias.copy()))
    logs = nn.Parameter(torch.from_numpy(table.weight).clamp_min(1e-6).log())
    rates = (RATE * float(targets.std()), WEIGHT_RATE)
    groups = [{"params": [rows, bias], "lr": rates[0]}, {"params": [logs], "lr": rates[1]}]
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
        output = means / total[:, None] + bias
        if table.ball is not None:
            centre = torch.from_numpy(table.ball.centre)
            output = centre + table.ball.radius * functional.normalize(output - centre)
        loss = (output - torch.from_numpy(targets[batch])).square().sum(1).mean()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / len(batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = (logs.detach().exp() * known).numpy()
    return StaticTable(rows.detach().numpy(), found, bias.detach().numpy(), table.ball)


def shuffled(count: int, size: int, epochs: int, seed: int) -> list[np.ndarray]:
    """Return the batches of several passes over ``count`` rows, of nearly equal size, at most ``size``."""
    orders = [np.random.default_rng((seed, epoch)).permutation(count) for epoch in range(epochs)]
    return [part for order in orders for part in np.array_split(order, -(-count // size))]


def _bags(counts: csr_matrix) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the tokens of all texts in a row, the place where each text begins, and the counts."""
    ids, first = (torch.from_numpy(x.astype(np.int64)) for x in (counts.indices, counts.indptr[:-1]))
    return ids, first, torch.from_numpy(counts.data)
