"""Losses against learnt points: proxies of the classes, and ancestors in hyperbolic space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from limbeck.geometry import lorentz


def griesmer_threshold(bits: int, classes: int) -> float:
    """Return the cosine that one codeword per class can keep to all others at this code length.

    It is 1 - 2 d / bits, d the largest distance that Griesmer's bound allows a linear code of ``bits`` and
    dimension ceil(log2 classes). DSPH reads the same number from a table of best known codes; where the
    bound is met (16, 32, 64 bits and up to 32 classes: cosine 0) they agree.
    """
    k = max(1, (classes - 1).bit_length())
    d = max(d for d in range(1, bits + 1) if sum(-(-d // 2**i) for i in range(k)) <= bits or d == 1)
    return 1 - 2 * d / bits


def proxy_margin(cos: torch.Tensor, labels: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return a loss that pulls items to their class proxies and off others (HyP, Xu et al. 2022; DSPH).

    It is the mean of 1 - cos over (item, class it has) plus that of max(0, cos - threshold) over the others.

    Args:
        cos: (B, C) cosines of items and proxies.
        labels: (B, C) 0 or 1.
        threshold: the threshold of the cosine, see `griesmer_threshold`.
    """
    has = labels > 0
    pull = (1 - cos)[has].sum() / has.sum().clamp(min=1)
    push = F.relu(cos - threshold)[~has].sum() / (~has).sum().clamp(min=1)
    return pull + push


def irrelevant_margin(cos: torch.Tensor, labels: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the mean of max(0, cos - threshold) over pairs of items with 2+ labels and none in common.

    Proxies cannot keep such items apart: each lies between the proxies of its classes (DSPH).

    Args:
        cos: (B, B) cosines of items.
        labels: (B, C) 0 or 1.
        threshold: the threshold of the cosine.
    """
    several = labels.sum(1) > 1
    apart = (labels.float() @ labels.float().T == 0) & several[:, None] & several
    return F.relu(cos - threshold)[apart].sum() / apart.sum().clamp(min=1)


def kent_scores(x: torch.Tensor, axes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return how well items fit classes that are Kent distributions on the sphere (KDPH, 2026): (B, C).

    s = kappa mu·x + b1 (g1·x)^2 - b2 (g2·x)^2 - (kappa + b1 + b2) / 2 with x at unit length; mu, g1, g2 are
    the axes of a class, made orthonormal in this order. The last term stands for the constant of the density.

    Args:
        x: (B, d) items.
        axes: (C, 3, d) mu, g1, g2.
        scales: (C, 3) kappa, b1, b2, not negative.
    """
    found: list[torch.Tensor] = []
    for raw in axes.unbind(1):
        for axis in found:
            raw = raw - (raw * axis).sum(1, keepdim=True) * axis
        found.append(F.normalize(raw, dim=1))
    mu, first, second = (F.normalize(x, dim=1) @ axis.T for axis in found)
    kappa, wide, narrow = scales.unbind(1)
    return kappa * mu + wide * first.square() - narrow * second.square() - scales.sum(1) / 2


def rank_classes(scores: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the mean of [s_n - s_p + margin]+ over an item's classes p and the classes n that it lacks.

    Args:
        scores: (B, C) of items and classes.
        labels: (B, C) 0 or 1.
        margin: the lead that a class of an item should have over other classes.
    """
    has = labels > 0
    compared = has[:, :, None] & ~has[:, None]
    behind = F.relu(scores[:, None] - scores[:, :, None] + margin)
    return behind[compared].sum() / compared.sum().clamp(min=1)


def ancestor_triplets(
    distances: torch.Tensor,
    triplets: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    noise: tuple[torch.Tensor, torch.Tensor],
    margin: float = 0.1,
    temperature: float = 0.1,
) -> torch.Tensor:
    """Return a loss: i and j of a triplet get an ancestor below that of all three (HIER, 2023; DHaPH).

    The lowest common ancestor of a set is drawn by Gumbel-softmax over proxies p with logits
    -max over the set of d(., p) / temperature, one-hot in the forward pass and soft in the backward pass.
    With P the ancestor of (i, j) and Q that of (i, j, k), the loss is the mean of
    [d(i,P) - d(i,Q) + m]+ + [d(j,P) - d(j,Q) + m]+ + [d(k,Q) - d(k,P) + m]+; it is 0 where P = Q.

    Args:
        distances: (N, P) of items to proxies.
        triplets: rows i, j, k, each (T,).
        noise: Gumbel noise (T, P) for both draws.
        margin: m.
        temperature: the temperature of the draws.
    """
    di, dj, dk = (distances[rows] for rows in triplets)
    pair = torch.maximum(di, dj)
    low = _hard_softmax(-pair / temperature + noise[0])
    high = _hard_softmax(-torch.maximum(pair, dk) / temperature + noise[1])

    def lower(d: torch.Tensor) -> torch.Tensor:
        return (d * low).sum(1) - (d * high).sum(1)

    hinge = F.relu(lower(di) + margin) + F.relu(lower(dj) + margin) + F.relu(margin - lower(dk))
    return (hinge * (low.argmax(1) != high.argmax(1))).mean()


def _hard_softmax(logits: torch.Tensor) -> torch.Tensor:
    soft = logits.softmax(1)
    hard = F.one_hot(soft.argmax(1), soft.shape[1]).to(soft)
    return hard + soft - soft.detach()


def reciprocal_triplets(
    similarity: torch.Tensor, neighbours: int, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return triplets (i, j, k), each (T,): i and j are mutual neighbours, k is any other item (HIER).

    Args:
        similarity: (N, N), higher is nearer.
        neighbours: how many count as nearest.
        count: T; 0 are found where no i has such a j and such a k.
        generator: makes the draws, on the CPU.
    """
    table = similarity.detach().cpu()
    near = torch.zeros_like(table).scatter_(1, table.topk(min(neighbours, len(table)), 1).indices, 1.0)
    self_pair = torch.eye(len(table))
    mutual = near * near.T * (1 - self_pair)
    other = (1 - mutual) * (1 - self_pair)
    anchors = ((mutual.sum(1) > 0) & (other.sum(1) > 0)).nonzero()[:, 0]
    if not len(anchors):
        return anchors, anchors, anchors
    i = anchors[torch.randint(len(anchors), (count,), generator=generator)]
    # The largest of equal draws is uniform among those allowed; multinomial draws twice as slowly.
    shape = (count, len(table))
    j, k = (((1 - torch.rand(shape, generator=generator)) * mask[i]).argmax(1) for mask in (mutual, other))
    place = similarity.device
    return i.to(place), j.to(place), k.to(place)


def ancestor_hierarchy(
    sets: Sequence[torch.Tensor],
    ancestors: torch.Tensor,
    similar: torch.Tensor,
    generator: torch.Generator,
    *,
    curv: float,
    neighbours: int,
    count: int,
    margin: float,
) -> torch.Tensor:
    """Return H of DHaPH: `ancestor_triplets` of each set of points, and once per set those of the ancestors.

    Neighbours (`reciprocal_triplets`) are near by exp(-distance), plus 1 for two similar items.

    Args:
        sets: points (N, d) of the hyperboloid, such as those of pictures and of texts.
        ancestors: (P, d) points.
        similar: (N, N) S of the items, 0 or 1.
        generator: makes all draws, on the CPU.
        curv: the curvature is -curv.
        neighbours: how many items count as nearest.
        count: triplets that are drawn from each set.
        margin: that of `ancestor_triplets`.
    """

    def triplets_of(points: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
        to_ancestors = lorentz.pairwise_distance(points, ancestors, curv)
        with torch.no_grad():
            same = points is ancestors
            apart = to_ancestors if same else lorentz.pairwise_distance(points, points, curv)
            near = (-apart).exp() + similar.to(points)
        triplets = reciprocal_triplets(near, neighbours, count, generator)
        if not len(triplets[0]):
            return points.sum() * 0.0
        shape = (2, len(triplets[0]), len(ancestors))
        noise = -(-torch.rand(shape, generator=generator).clamp(min=1e-20).log()).log()
        first, second = noise.to(points)
        return ancestor_triplets(to_ancestors, triplets, (first, second), margin)

    total = sum((triplets_of(points, similar) for points in sets), ancestors.new_zeros(()))
    return total + len(sets) * triplets_of(ancestors, torch.zeros(()))
