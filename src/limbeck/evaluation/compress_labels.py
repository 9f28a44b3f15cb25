"""Bring items that share a label nearer to each other, by a linear map of their features (ours)."""

from __future__ import annotations

import numpy as np

RIDGE = 0.3  # penalty, in units of the mean variance of a dimension


def label_metric(
    image: np.ndarray, text: np.ndarray, labels: dict[str, np.ndarray], weight: float
) -> np.ndarray:
    """Return a symmetric map (D, D): inner products of mapped features also compare predicted labels.

    Labels are predicted by ridge regression; their predictions have ``weight`` times the features' variance.

    Args:
        image: centred features of pictures (N, D).
        text: centred features of texts (M, D).
        labels: bool (N, C) and (M, C), by modality; a text without labels is not read.
        weight: above 0.
    """
    known = labels["text"].any(axis=1)
    rows = np.concatenate([image, text[known]]).astype(np.float64)
    targets = np.concatenate([labels["image"], labels["text"][known]]).astype(np.float64)
    covariance, width = rows.T @ rows / len(rows), rows.shape[1]
    penalty = RIDGE * np.trace(covariance) / width * np.eye(width)
    map_ = np.linalg.solve(covariance + penalty, rows.T @ (targets - targets.mean(0)) / len(rows))
    spread = np.trace(map_.T @ covariance @ map_)
    metric = np.eye(width) + weight * np.trace(covariance) / max(spread, 1e-12) * map_ @ map_.T
    values, vectors = np.linalg.eigh(metric)
    return vectors * np.sqrt(values) @ vectors.T
