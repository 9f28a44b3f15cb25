"""How far wrong a prediction is in an is-a tree: the hierarchical metrics of HyCoCLIP.

Source: Pal et al., "Compositional Entailment Learning for Hyperbolic Vision-Language Models" (ICLR 2025),
after Kosmopoulos et al. (2015). With p and t the predicted and the true class, and A(·) the set of a class's
*proper* ancestors (the class itself is not in it),

    TIE        edges on the way from p to t in the undirected tree; 0 when right
    LCA        |A(p)| − |A(p) ∩ A(t)| + 1; 1 when right, and also for a sibling of the true class
    Jaccard    |A(p) ∩ A(t)| / |A(p) ∪ A(t)|
    precision  |A(p) ∩ A(t)| / |A(p)|
    recall     |A(p) ∩ A(t)| / |A(t)|

So a sibling of the true class counts as right everywhere but in TIE. That the sets are proper is inferred,
not documented: between leaves, mean LCA is then accuracy + TIE / 2 but for asymmetry, and 1 + TIE / 2
otherwise; the figures known to us (CLIP ViT-B on ImageNet: .406 + 3.60 / 2 = 2.21) fit the former.
An empty set (the root has no ancestors) is contained in every set: 0 / 0 counts as 1.
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
    """Means over the items, and each item's values.

    Attributes:
        tie: tree induced error, edges; 0 is best.
        lca: steps up to the last common ancestor as defined above; 1 is best.
        jaccard: 0 to 1, 1 is best.
        precision: hierarchical precision, 0 to 1.
        recall: hierarchical recall, 0 to 1.
        per_query: name of the measure → float64 (Q,); expectation where predictions tie.
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
        parents: int (N,), number of each node's parent, −1 for the one root (`limbeck.data.hierarchy.Tree`).
        predicted: node number of each item, int (Q,); or for each item the several nodes that tie for the
            first place, whose values are averaged.
        true: node number of each item, int (Q,).

    Raises:
        LimbeckError: parents that make no tree, node numbers out of range, nothing to compare.
    """
    tree = _check_parents(parents)
    item, chosen, share, wanted = flat_predictions(predicted, true)
    if max(chosen.max(), wanted.max()) >= len(tree):
        raise LimbeckError(f"predicted, true: node numbers go up to {len(tree) - 1} in a tree of {len(tree)}")
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
    """Each measure for each prediction, float64 (P,); predicted and true are places in ``nodes``."""
    with_self = _with_ancestors(parents, nodes)
    proper = with_self.copy()
    proper[np.arange(len(nodes)), nodes] = 0
    # float32 products of 0 and 1 are exact, and go through BLAS
    depth = proper.sum(axis=1)
    own, other = depth[predicted].astype(np.float64), depth[true].astype(np.float64)
    both = (proper @ proper.T)[predicted, true].astype(np.float64)
    shared_way = (with_self @ with_self.T)[predicted, true] - 1.0  # depth of the last common node
    return {
        "tie": own + other - 2 * shared_way,
        "lca": own - both + 1,
        "jaccard": _share(both, own + other - both),
        "precision": _share(both, own),
        "recall": _share(both, other),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def _with_ancestors(parents: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """float32 (len(nodes), N): 1 for the node itself and each of its ancestors."""
    found = np.zeros((len(nodes), len(parents)), np.float32)
    rows, at = np.arange(len(nodes)), nodes
    while rows.size:
        found[rows, at] = 1
        at = parents[at]
        rows, at = rows[at >= 0], at[at >= 0]
    return found


def _check_parents(parents: ArrayLike) -> np.ndarray:
    tree = np.asarray(parents)
    whole = tree.ndim == 1 and tree.size and tree.dtype.kind in "iu"
    if not whole or tree.min() != -1 or (tree == -1).sum() != 1 or tree.max() >= len(tree):
        raise LimbeckError("parents: expected one parent number a node and −1 for the one root")
    tree = tree.astype(np.int64)
    above = np.where(tree < 0, np.arange(len(tree)), tree)
    for _ in range(len(tree).bit_length()):  # doubling: after i rounds everyone has gone up 2^i steps
        above = above[above]
    if (above != int(np.argmin(tree))).any():
        raise LimbeckError("parents: some nodes never reach the root; they go round in a cycle")
    return tree
