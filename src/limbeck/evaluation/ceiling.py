"""Learn the ceiling of a hashing score: hash codes made from the labels, at the same number of bits.

Source: ours. A model sees pictures and texts only, so codes learnt from the labels are an upper reference.
Read a score between this ceiling and the floor of all-equal codes.
This module uses numpy only, so external codes get their ceiling without importing torch.
"""

from __future__ import annotations

import numpy as np

from limbeck.codes import pack_bits

# Every matrix product stays within 64 · 64 · 64 multiplications, which BLAS computes on one thread. With
# larger batches a step mostly waits for threads: it takes thirty times as long on a busy machine.
HIDDEN = 64
STEPS = 3000
BATCH = 64
RATE = 1e-2


def label_codes(labels: np.ndarray, bits: int, *, seed: int = 0, steps: int = STEPS) -> np.ndarray:
    """Learn hash codes from label sets by the pairwise likelihood (ours); equal sets get equal codes.

    The network has one hidden layer and reads the unique label sets. The loss of a pair is
    log(1 + exp θ) − s·θ, with θ = 4/√bits · u·v and s = 1 where the two sets share a label. Adam minimises it
    with a linearly falling learning rate. Pairs are sampled as often as their sets occur.

    Args:
        labels: bool (N, C), queries and items together.
        bits: length of the codes, a multiple of 8.
        seed: seeds weights and sampling; the same seed gives the same codes.
        steps: number of training steps.

    Returns:
        Packed codes, uint8 (N, bits / 8).
    """
    sets, inverse, counts = np.unique(
        np.asarray(labels, bool), axis=0, return_inverse=True, return_counts=True
    )
    rng = np.random.default_rng(seed)
    inputs = sets.astype(np.float32)
    inputs = inputs / np.maximum(np.linalg.norm(inputs, axis=1, keepdims=True), 1.0)
    share = (sets.astype(np.float32) @ sets.T.astype(np.float32)) > 0
    weights = [
        rng.standard_normal((inputs.shape[1], HIDDEN), dtype=np.float32) * np.float32(np.sqrt(2.0)),
        rng.standard_normal((HIDDEN, bits), dtype=np.float32) / np.float32(np.sqrt(HIDDEN)),
    ]
    optimizer = _Adam(weights)
    batch = max(16, min(BATCH, 64 * 64 // bits))  # label sets on each of the two sides of a step
    draws = rng.choice(len(sets), size=(steps, 2, batch), p=counts / counts.sum())
    for step, pick in enumerate(draws):
        gradients = _gradients(inputs[pick[0]], inputs[pick[1]], share[np.ix_(pick[0], pick[1])], weights)
        optimizer.step(gradients, RATE * (1 - step / steps))
    codes = pack_bits(_forward(inputs, weights)[1] >= 0)
    return codes[inverse.reshape(-1)]


def _forward(inputs: np.ndarray, weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    hidden = np.maximum(inputs @ weights[0], 0)
    return hidden, np.tanh(hidden @ weights[1])


def _gradients(
    left: np.ndarray, right: np.ndarray, share: np.ndarray, weights: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the gradients of the mean pairwise loss with respect to both weight matrices."""
    scale = np.float32(4.0 / np.sqrt(weights[1].shape[1]))
    (hidden_left, u), (hidden_right, v) = _forward(left, weights), _forward(right, weights)
    theta = scale * (u @ v.T)
    error = (1 / (1 + np.exp(-theta)) - share) * (scale / np.float32(share.size))
    total = [np.zeros_like(weight) for weight in weights]
    for inputs, hidden, out, slope in (
        (left, hidden_left, u, error @ v),
        (right, hidden_right, v, error.T @ u),
    ):
        slope = slope * (1 - out**2)
        total[1] += hidden.T @ slope
        total[0] += inputs.T @ ((slope @ weights[1].T) * (hidden > 0))
    return total


class _Adam:
    """Update weights in place by Adam, with β = (0.9, 0.999)."""

    def __init__(self, weights: list[np.ndarray]) -> None:
        self.weights = weights
        self.first = [np.zeros_like(weight) for weight in weights]
        self.second = [np.zeros_like(weight) for weight in weights]
        self.count = 0

    def step(self, gradients: list[np.ndarray], rate: float) -> None:
        self.count += 1
        correction = np.sqrt(1 - 0.999**self.count) / (1 - 0.9**self.count)
        for weight, gradient, first, second in zip(
            self.weights, gradients, self.first, self.second, strict=True
        ):
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            weight -= np.float32(rate * correction) * first / (np.sqrt(second) + np.float32(1e-8))
