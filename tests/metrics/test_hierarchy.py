"""Hierarchical metrics against sets and a walk through the tree."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.metrics import hierarchical
from limbeck.metrics.hierarchy import MEASURES
from raising import raises_code

# figure 0: polygon 1 (triangle 2, quadrilateral 3 (square 4, diamond 5)), round shape 6 (circle 7, ring 8)
SHAPES = [-1, 0, 1, 1, 3, 3, 0, 6, 6]
FIGURE, POLYGON, TRIANGLE, QUAD, SQUARE, DIAMOND, ROUND, CIRCLE, RING = range(9)


def ancestors(parents: list[int], node: int) -> set[int]:
    found = set()
    while parents[node] >= 0:
        node = parents[node]
        found.add(node)
    return found


def walk(parents: list[int], start: int, goal: int) -> int:
    """Edges on the shortest way, breadth first, the tree seen as an undirected graph."""
    beside: dict[int, list[int]] = {n: [] for n in range(len(parents))}
    for node, parent in enumerate(parents):
        if parent >= 0:
            beside[node].append(parent)
            beside[parent].append(node)
    waiting, seen = deque([(start, 0)]), {start}
    while waiting:
        node, steps = waiting.popleft()
        if node == goal:
            return steps
        waiting.extend((n, steps + 1) for n in beside[node] if n not in seen)
        seen.update(beside[node])
    raise AssertionError


def oracle(parents: list[int], p: int, t: int) -> dict[str, float]:
    own, other = ancestors(parents, p), ancestors(parents, t)
    both, either = len(own & other), len(own | other)
    return {
        "tie": walk(parents, p, t),
        "lca": len(own) - both + 1,
        "jaccard": both / either if either else 1.0,
        "precision": both / len(own) if own else 1.0,
        "recall": both / len(other) if other else 1.0,
    }


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        (SQUARE, SQUARE, (0, 1, 1, 1, 1)),
        (SQUARE, DIAMOND, (2, 1, 1, 1, 1)),  # siblings have the same ancestors
        (SQUARE, TRIANGLE, (3, 2, 2 / 3, 2 / 3, 1)),
        (TRIANGLE, SQUARE, (3, 1, 2 / 3, 1, 2 / 3)),
        (SQUARE, CIRCLE, (5, 3, 1 / 4, 1 / 3, 1 / 2)),
        (POLYGON, TRIANGLE, (1, 1, 1 / 2, 1, 1 / 2)),
        (FIGURE, TRIANGLE, (2, 1, 0, 1, 0)),
        (FIGURE, FIGURE, (0, 1, 1, 1, 1)),
    ],
)
def test_by_hand(predicted, true, expected):
    found = hierarchical(SHAPES, [predicted], [true])
    assert [getattr(found, name) for name in MEASURES] == pytest.approx(expected)


trees = st.integers(1, 14).flatmap(
    lambda n: st.tuples(
        st.tuples(*(st.integers(0, max(0, at - 1)) for at in range(1, n))),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), min_size=1, max_size=8),
        st.randoms(use_true_random=False),
    )
)


@settings(deadline=None, max_examples=80)
@given(trees)
def test_against_sets_and_a_walk(drawn):
    ups, pairs, random = drawn
    order = list(range(len(ups) + 1))
    random.shuffle(order)  # parents need not come first
    parents = [-1] * len(order)
    for child, up in enumerate(ups, start=1):
        parents[order[child]] = order[up]
    found = hierarchical(parents, [p for p, _ in pairs], np.array([t for _, t in pairs]))
    for name in MEASURES:
        wanted = [oracle(parents, p, t)[name] for p, t in pairs]
        np.testing.assert_allclose(found.per_query[name], wanted, atol=1e-12)
        assert getattr(found, name) == pytest.approx(np.mean(wanted))


def test_ties_are_averaged_within_an_item():
    tied = hierarchical(SHAPES, [[SQUARE, CIRCLE], [RING]], [SQUARE, RING])
    alone = [oracle(SHAPES, node, SQUARE) for node in (SQUARE, CIRCLE)]
    for name in MEASURES:
        assert tied.per_query[name][0] == pytest.approx(np.mean([one[name] for one in alone]))
        assert getattr(tied, name) == pytest.approx(tied.per_query[name].mean())


def test_between_leaves_lca_is_accuracy_and_half_the_tie():
    """The relation by which the published figures say that ancestor sets are proper."""
    leaves = np.array([TRIANGLE, SQUARE, DIAMOND, CIRCLE, RING])
    p, t = (side.ravel() for side in np.meshgrid(leaves, leaves))
    found = hierarchical(SHAPES, p, t)
    assert found.lca == pytest.approx((p == t).mean() + found.tie / 2)


@pytest.mark.parametrize(
    ("parents", "match"),
    [
        ([-1, -1], ("E-HIERARCHY-TREE", "parents:")),
        ([0, 0], ("E-HIERARCHY-TREE", "parents:")),
        ([-1, 2, 1], ("E-HIERARCHY-TREE", "parents:")),
        ([-1, 1], ("E-HIERARCHY-TREE", "parents:")),
        ([-1, 2], ("E-HIERARCHY-TREE", "parents:")),
        ([], ("E-HIERARCHY-TREE", "parents:")),
        ([-1.0], ("E-HIERARCHY-TREE", "parents:")),
        ([-2, 0], ("E-HIERARCHY-TREE", "parents:")),
    ],
)
def test_what_is_no_tree_is_refused(parents, match):
    with raises_code(*match):
        hierarchical(parents, [0], [0])


def test_unknown_nodes_are_refused():
    with raises_code("E-ARRAY-VALUES", "predicted, true:"):
        hierarchical(SHAPES, [9], [0])
