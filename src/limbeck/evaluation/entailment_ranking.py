"""Rank the texts of picture chains by how strongly they entail the picture (PEP, see `limbeck.metrics`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limbeck.data.caption_chains import Chains
from limbeck.evaluation.encode import Side, encode_texts
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.results import plain
from limbeck.metrics import EntailmentRanking, entailment_ranking
from limbeck.spaces import Space

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder

NEGATIVES = 100
"""Pictures whose finest texts are the negatives of a picture; fewer where the split is smaller."""
_SEED = 0


def score_chains(
    model: DualEncoder, images: Side, chains: Chains, *, seed: int = _SEED, batch_size: int = 256
) -> Scores:
    """Score the chains of some pictures.

    Args:
        model: encodes the texts of the chains.
        images: embeddings of the pictures, one per row; they include the rows of the chains.
        chains: at least two pictures.
        seed: draws the negatives.
        batch_size: texts per forward pass.

    Returns:
        Group ``entailment`` with ``auc``, ``ap``, ``distinct`` and ``zeros`` of `entailment_ranking`. In a
        space with cones the score of "text entails picture" is 1 − 2φ/π, at least 0, with the exterior angle
        φ at the text; ``margin_auc`` and ``margin_ap`` rank by the half aperture minus φ. Other spaces have
        no cones: there the score is the similarity. Two controls (ours) say what the ranking rests on:
        ``swapped_auc`` ranks the same texts for a random other picture, so that only the levels of the texts
        can tell them apart, and ``finest_auc`` has the finest text of the chain as its only positive, so that
        only the picture can. In a space with cones the group ``cone`` has ``inside_coarsest``,
        ``inside_other_coarsest`` and ``inside_other``: the share of the pictures inside the cone of the
        coarsest text of their chain, of that of a random other picture, and of the finest text of a random
        other picture. With fewer than two pictures there are no scores.
    """
    scores = Scores()
    if len(chains.texts) < 2:
        return scores
    texts = encode_texts(model, chains.texts, chains.rows, batch_size=batch_size).points
    order = np.argsort(images.rows, kind="stable")
    pictures = images.points[order[np.searchsorted(images.rows[order], chains.rows)]]
    shown, is_positive = _drawn(chains, seed)
    first, margin = _entailment(model.space, texts, pictures, shown)
    swap = _swap(len(pictures), seed)
    swapped, swapped_margin = _entailment(model.space, texts, pictures[swap], shown)
    ranking = entailment_ranking(first, is_positive)
    scores.metrics["entailment"] = _named(ranking) | _controls(first, swapped, is_positive)
    scores.per_query["entailment"] = plain(ranking.per_query["auc"])
    if margin is not None and swapped_margin is not None:
        by_margin = entailment_ranking(margin, is_positive)
        controls = _controls(margin, swapped_margin, is_positive)
        named = {"auc": by_margin.auc, "ap": by_margin.ap} | controls
        scores.metrics["entailment"] |= {f"margin_{name}": value for name, value in named.items()}
        other = np.argmax(~is_positive & (shown >= 0), axis=1)
        scores.metrics["cone"] = {
            "inside_coarsest": float((margin[:, 0] >= 0).mean()),
            "inside_other_coarsest": float((swapped_margin[:, 0] >= 0).mean()),
            "inside_other": float((margin[np.arange(len(margin)), other] >= 0).mean()),
        }
    return scores


def _swap(count: int, seed: int) -> np.ndarray:
    """Return for each picture the number of a random other one; no two have the same."""
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty(count, np.int64)
    other[order] = np.roll(order, 1)
    return other


def _controls(scores: np.ndarray, swapped: np.ndarray, is_positive: np.ndarray) -> dict[str, float]:
    """Return the AUC with pictures swapped, and with the finest text as the only positive."""
    finest = np.zeros_like(is_positive)
    finest[np.arange(len(finest)), is_positive.sum(1) - 1] = True  # own texts come first, coarse first
    alone = np.where(finest | ~is_positive, scores, np.nan)
    return {
        "swapped_auc": entailment_ranking(swapped, is_positive).auc,
        "finest_auc": entailment_ranking(alone, finest).auc,
    }


def _named(ranking: EntailmentRanking) -> dict[str, float]:
    return {
        "auc": ranking.auc,
        "ap": ranking.ap,
        "distinct": ranking.distinct,
        "zeros": ranking.zeros,
    }


def _drawn(chains: Chains, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the texts of each picture as numbers (P, T), −1 for none, and which are its own, bool (P, T).

    A picture's own texts come first, coarse first. A text of its chain is never its negative, even where
    another picture has the same text.
    """
    starts = np.cumsum([0, *(len(chain) for chain in chains.texts)])
    finest = starts[1:] - 1
    longest = max(len(chain) for chain in chains.texts)
    count = min(NEGATIVES, len(chains.texts) - 1)
    shown = np.full((len(chains.texts), longest + count), -1, np.int64)
    random = np.random.default_rng(seed)
    for at, chain in enumerate(chains.texts):
        shown[at, : len(chain)] = np.arange(starts[at], starts[at + 1])
        others = random.permutation(len(chains.texts))
        own = set(chain)
        drawn = [finest[other] for other in others if chains.texts[other][-1] not in own][:count]
        shown[at, longest : longest + len(drawn)] = drawn
    is_positive = np.zeros(shown.shape, bool)
    is_positive[:, :longest] = shown[:, :longest] >= 0
    return shown, is_positive


def _entailment(
    space: Space, texts: np.ndarray, pictures: np.ndarray, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return scores (P, T), NaN where no text is shown, and the margins to the cones where there are some."""
    row, column = np.nonzero(shown >= 0)
    general, specific = texts[shown[row, column]], pictures[row]
    first = np.full(shown.shape, np.nan)
    if not space.has_cones:
        first[row, column] = space.score_sign * np.asarray(space.rescore(general, specific), np.float64)
        return first, None
    angle = space.exterior_angle(general, specific)
    first[row, column] = np.maximum(1 - 2 * angle / np.pi, 0)
    margin = np.full(shown.shape, np.nan)
    margin[row, column] = -space.cone_excess(general, specific)
    return first, margin
