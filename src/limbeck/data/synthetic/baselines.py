"""Two trivial baselines: ridge regression from colour histograms or 8×8 pixels to the caption's words."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from PIL import Image

from limbeck.data.pairs import Pairs

Describe = Callable[[Image.Image], np.ndarray]


def colour_histogram(image: Image.Image) -> np.ndarray:
    """Return the square roots of the shares of pixels in 4×4×4 colour cells, float64 (64,)."""
    cells = np.asarray(image, dtype=np.int64) // 64
    flat = (cells[..., 0] * 16 + cells[..., 1] * 4 + cells[..., 2]).ravel()
    return np.sqrt(np.bincount(flat, minlength=64) / len(flat))


def coarse_pixels(image: Image.Image) -> np.ndarray:
    """Return the picture at 8×8 pixels, float64 (192,) in 0–1."""
    return np.asarray(image.resize((8, 8), Image.Resampling.BOX), dtype=np.float64).ravel() / 255.0


BASELINES: dict[str, Describe] = {"histogram": colour_histogram, "pixels8": coarse_pixels}


def bag_of_words(texts: list[str], vocabulary: list[str]) -> np.ndarray:
    """Return unit-length counts of known words, float64 (n, V)."""
    column = {word: at for at, word in enumerate(vocabulary)}
    bags = np.zeros((len(texts), len(vocabulary)))
    for row, text in enumerate(texts):
        for word in _words(text):
            if word in column:
                bags[row, column[word]] += 1.0
    return bags / np.maximum(np.linalg.norm(bags, axis=1, keepdims=True), 1e-12)


def baseline_recall(
    pairs: Pairs, describe: Describe, *, train: str = "train", test: str = "test", ridge: float = 1.0
) -> dict[str, float]:
    """Return R@1 (percent) of ridge regression from picture to bag of words, ranked by cosine.

    Each text belongs to its own picture only; tied scores share the hit.

    Args:
        pairs: a table with pictures and captions; the first caption of each row is its text.
        describe: maps a picture to a vector.
        train: the split to fit on.
        test: the split to score.
        ridge: the strength of the penalty on standardised inputs.

    Returns:
        ``{"i2t": …, "t2i": …}``.
    """
    fit, ask = pairs.split_rows(train), pairs.split_rows(test)
    fit_texts = [" ".join(texts[:1]) for texts in pairs.texts("captions", fit)]
    vocabulary = sorted({word for text in fit_texts for word in _words(text)})
    x = np.stack([describe(pairs.open_image(row)) for row in fit.tolist()])
    asked = np.stack([describe(pairs.open_image(row)) for row in ask.tolist()])
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    x, asked = (x - mean) / spread, (asked - mean) / spread
    y = bag_of_words(fit_texts, vocabulary)
    centre = y.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (y - centre))
    guess = asked @ weights
    words = bag_of_words([" ".join(texts[:1]) for texts in pairs.texts("captions", ask)], vocabulary) - centre
    similarity = _unit(guess) @ _unit(words).T
    return {"i2t": _recall_at_1(similarity), "t2i": _recall_at_1(similarity.T)}


def _recall_at_1(similarity: np.ndarray) -> float:
    own = np.diagonal(similarity)[:, None]
    first = ~(similarity > own + 1e-12).any(axis=1)
    ties = (np.abs(similarity - own) <= 1e-12).sum(axis=1)
    return float(100.0 * np.mean(first / ties))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())
