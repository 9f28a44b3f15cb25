"""Fit the layers after a new text backbone to the teacher's embeddings."""

from __future__ import annotations

import numpy as np
import torch

from limbeck.encoders.lifts import Lift
from limbeck.encoders.static_refine import shuffled
from limbeck.encoders.towers import Tower

BATCH, PASSES, RATE = 1024, 4, 1e-3


def fit_layers(tower: Tower, lift: Lift, features: np.ndarray, embeddings: np.ndarray, seed: int) -> None:
    """Train trunk and text head in place, so that the features give the embeddings; nothing else changes.

    The loss is the mean squared error. Dropout is off.

    Args:
        tower: the tower whose trunk is trained.
        lift: the lift whose text head is trained.
        features: outputs of the new backbone (N, dim).
        embeddings: the teacher's embeddings of the same texts (N, lift.dim).
        seed: shuffles the texts.
    """
    trained = [*tower.trunk.parameters(), *lift.head("text").parameters()]
    if not trained:
        return
    x, wanted = torch.from_numpy(features), torch.from_numpy(embeddings)
    optimizer = torch.optim.Adam(trained, lr=RATE)
    batches = shuffled(len(x), BATCH, PASSES, seed)
    before = [weights.requires_grad for weights in trained]
    for weights in trained:
        weights.requires_grad_(True)
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / len(batches))
        loss = (lift(tower.trunk(x[batch]), "text") - wanted[batch]).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for weights, required in zip(trained, before, strict=True):
        weights.requires_grad_(required)
