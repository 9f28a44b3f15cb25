"""Slow and obvious versions of the ranking metrics, for the tests to compare with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np


def average_precision(relevance: list[int], k: int, normalizer: str) -> float:
    """Average precision of one order of items, straight from the definition."""
    total = sum(relevance)
    if total == 0:
        return float("nan")
    precisions = [sum(relevance[: i + 1]) / (i + 1) for i, hit in enumerate(relevance) if hit]
    inside = sum(relevance[:k])
    if normalizer == "relevant":
        return sum(precisions[:inside]) / total
    if normalizer == "min":
        return sum(precisions[:inside]) / min(k, total)
    if normalizer == "hits":
        return sum(precisions[:inside]) / inside if inside else 0.0
    assert normalizer == "first_k"
    return sum(precisions[: min(k, total)]) / min(k, total)


def all_orders(distances: np.ndarray, relevance: np.ndarray) -> Iterator[list[int]]:
    """Relevance of the ranked items under every order of every tie group: all permutations, one by one."""
    groups = [relevance[distances == value].tolist() for value in np.unique(distances)]
    for chosen in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield list(itertools.chain(*chosen))


def all_patterns(sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """The same for groups of (items, relevant items), each distinct pattern once: all are equally likely."""
    choices = []
    for items, hits in sizes:
        places = itertools.combinations(range(items), hits)
        choices.append([[int(i in chosen) for i in range(items)] for chosen in map(set, places)])
    for chosen in itertools.product(*choices):
        yield list(itertools.chain(*chosen))


def ordered(distances: np.ndarray, relevance: np.ndarray, ties: str) -> list[int]:
    """The relevance of the ranked items under one named tie rule."""
    key = {"optimistic": -relevance, "pessimistic": relevance, "id": np.arange(len(relevance))}[ties]
    return relevance[np.lexsort((key, distances))].tolist()


def average(values: Iterator[float]) -> float:
    return float(np.mean(list(values)))
