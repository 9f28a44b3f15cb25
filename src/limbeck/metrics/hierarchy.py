"""Measure how far a prediction is from the true class in an is-a tree: the hierarchical metrics of HyCoCLIP.

Source: Pal et al., "Compositional Entailment Learning for Hyperbolic Vision-Language Models" (ICLR 2025),
after Kosmopoulos et al. (2015). Let p and t be the predicted and the true class, and let A(·) be the set of
the *proper* ancestors of a class (without the class itself). The measures are:

    TIE        number of edges on the path from p to t in the undirected tree; 0 if right
    LCA        |A(p)| − |A(p) ∩ A(t)| + 1; 1 if right, and also for a sibling of the true class
    Jaccard    |A(p) ∩ A(t)| / |A(p) ∪ A(t)|
    precision  |A(p) ∩ A(t)| / |A(p)|
    recall     |A(p) ∩ A(t)| / |A(t)|

A sibling of the true class therefore counts as right in every measure except TIE. The paper does not document
that the sets are proper; we infer it. Between leaves of one depth, mean LCA is accuracy + TIE / 2 with proper
sets and 1 + TIE / 2 otherwise. The published figures (CLIP ViT-B on ImageNet: .406 + 3.60 / 2 = 2.21) fit the
former. The root has no ancestors: with an empty set, 0 / 0 counts as 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.metrics.classification import flat_predictions

MEASURES = ("tie", "lca", "jaccard", "precision", "recall")


@dataclasses.dataclass(frozen=True, eq=False)
class Hierarchical:
    """The hierarchical measures: means over the items, and per-item values.

    Attributes:
        tie: tree-induced error in edges; 0 is best.
        lca: height of the lowest common ancestor as defined above; 1 is best.
        jaccard: Jaccard index of the ancestors, 0 to 1; 1 is best.
        precision: hierarchical precision, 0 to 1.
        recall: hierarchical recall, 0 to 1.
        per_query: name of the measure → float64 (Q,), in expectation over tied predictions.
    """

    tie: float
    lca: float
    jaccard: float
    precision: float
    recall: float
    per_query: dict[str, np.ndarray]


def hierarchical(
    parents: ArrayLike, predicted: ArrayLike | Sequence[ArrayLike], true: ArrayLike
) -> Hierarchical:
    """Compare predicted with true nodes of a tree.

    Args:
        parents: int (N,), number of the parent of each node, −1 for the root (`limbeck.data.hierarchy.Tree`).
        predicted: node number of each item, int (Q,); or for each item the nodes that tie for the first
            place, whose values are averaged.
        true: node number of each item, int (Q,).

    Raises:
        LimbeckError: ``parents`` is not a tree; a node number is out of range; there are no items.
    """
    tree = _check_parents(parents)
    item, chosen, share, wanted = flat_predictions(predicted, true)
    if max(chosen.max(), wanted.max()) >= len(tree):
        raise LimbeckError(
            f"predicted, true: a node number exceeds {len(tree) - 1}; the tree has {len(tree)} nodes",
            code="E-ARRAY-VALUES",
        )
    nodes, places = np.unique(np.concatenate([chosen, wanted]), return_inverse=True)
    values = _values(tree, nodes, places[: len(chosen)], places[len(chosen) :][item])
    per_query = {
        name: np.bincount(item, weights=share * values[name], minlength=len(wanted)) for name in MEASURES
    }
    means = {name: float(per_query[name].mean()) for name in MEASURES}
    return Hierarchical(**means, per_query=per_query)


def _values(
    parents: np.ndarray, nodes: np.ndarray, predicted: np.ndarray, true: np.ndarray
) -> dict[str, np.ndarray]:
    """Return each measure per prediction, float64 (P,); predicted and true are positions in ``nodes``."""
    with_self = _with_ancestors(parents, nodes)
    proper = with_self.copy()
    proper[np.arange(len(nodes)), nodes] = 0
    # float32 products of 0 and 1 are exact, and BLAS computes them.
    depth = proper.sum(axis=1)
    predicted_depth, true_depth = depth[predicted].astype(np.float64), depth[true].astype(np.float64)
    both = (proper @ proper.T)[predicted, true].astype(np.float64)
    common_depth = (with_self @ with_self.T)[predicted, true] - 1.0  # depth of the lowest common node
    return {
        "tie": predicted_depth + true_depth - 2 * common_depth,
        "lca": predicted_depth - both + 1,
        "jaccard": _share(both, predicted_depth + true_depth - both),
        "precision": _share(both, predicted_depth),
        "recall": _share(both, true_depth),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def _with_ancestors(parents: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Return float32 (len(nodes), N), which is 1 for the node itself and for each of its ancestors."""
    marked = np.zeros((len(nodes), len(parents)), np.float32)
    rows, at = np.arange(len(nodes)), nodes
    while rows.size:
        marked[rows, at] = 1
        at = parents[at]
        rows, at = rows[at >= 0], at[at >= 0]
    return marked


def _check_parents(parents: ArrayLike) -> np.ndarray:
    tree = np.asarray(parents)
    whole = tree.ndim == 1 and tree.size and tree.dtype.kind in "iu"
    if not whole or tree.min() != -1 or (tree == -1).sum() != 1 or tree.max() >= len(tree):
        raise LimbeckError(
            "parents: must be one parent number per node, and −1 for exactly one root",
            code="E-HIERARCHY-TREE",
        )
    tree = tree.astype(np.int64)
    above = np.where(tree < 0, np.arange(len(tree)), tree)
    for _ in range(len(tree).bit_length()):  # after i rounds `above` is 2^i steps up
        above = above[above]
    if (above != int(np.argmin(tree))).any():
        raise LimbeckError(
            "parents: some nodes never reach the root, they form a cycle; give a tree",
            code="E-HIERARCHY-TREE",
        )
    return tree
