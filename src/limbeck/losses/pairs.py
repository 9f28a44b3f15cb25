"""Losses over all pairs of a batch of relaxed codes: by distance, by contrast, by a teacher's matrix."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the cosines (A, B) of rows (A, d) and (B, d)."""
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


def distance_margin(
    a: torch.Tensor, b: torch.Tensor, similar: torch.Tensor, share: float = 0.75
) -> torch.Tensor:
    """Return a loss that pulls similar pairs together and others ``share`` of the largest distance² apart.

    mean S d^2 + mean (1 - S) max(0, m - d)^2 with d = |a - b| / sqrt(2), m = sqrt(2 b share): DCHMT (Tu et
    al. 2022) measures d between the 2b probabilities of its bit pairs, where this is the same number.

    Args:
        a: (A, b) relaxed codes in (-1, 1).
        b: (B, b).
        similar: (A, B) S, 0 or 1.
        share: DCHMT's vartheta.
    """
    square = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0) / 2
    apart = (math.sqrt(2 * a.shape[1] * share) - (square + 1e-12).sqrt()).clamp(min=0)
    return (similar * square).mean() + ((1 - similar) * apart.square()).mean()


def softness(relaxed: torch.Tensor) -> torch.Tensor:
    """Return 1 - mean square of relaxed codes (B, b), which is 0 for bits of ±1 (DCHMT's quantization)."""
    return 1 - relaxed.square().mean()


def label_contrast(
    a: torch.Tensor, b: torch.Tensor, similar: torch.Tensor, temperature: float, pace: float
) -> torch.Tensor:
    """Return -log of the share of similar pairs per row of exp(cos / temperature), self-paced (DHaPH).

    As ``pace`` goes from 0 to 1 hard pairs gain weight: similar ones times exp(-1 - cos)^(pace/4), others
    times exp(cos - 1)^pace, both without gradient. A row without a similar item is left out.

    Args:
        a: (A, d) anchors.
        b: (B, d).
        similar: (A, B) 0 or 1.
        temperature: DHaPH 0.3.
        pace: 0 … 1.
    """
    cos = cosine(a, b)
    weight = torch.where(similar > 0, (-1 - cos) * pace / 4, (cos - 1) * pace).detach()
    logits = cos / temperature + weight
    positive = logits.masked_fill(similar == 0, -torch.inf).logsumexp(1)
    rows = similar.sum(1) > 0
    return (logits.logsumexp(1) - positive)[rows].sum() / rows.sum().clamp(min=1)


def cross_ranking(scores: torch.Tensor, margin: float = 0.2, shift: float = 1.0) -> torch.Tensor:
    """Return UCCH's cross-modal ranking loss (Hu et al. 2022); negatives beyond the margin count less.

    mean_i [ margin - s_ii + log sum_j exp s'_ij ], both ways, with s' = s where s_ij >= s_ii - margin, else
    s - shift.

    Args:
        scores: (B, B) similarities of pictures (rows) and texts, pairs on the diagonal.
        margin: UCCH 0.2.
        shift: UCCH 1.
    """

    def one_way(s: torch.Tensor) -> torch.Tensor:
        positive = s.diagonal()
        near = s >= (positive[:, None] - margin).detach()
        return (margin - positive + torch.where(near, s, s - shift).logsumexp(1)).mean()

    return one_way(scores) + one_way(scores.T)


def memory_contrast(positive: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each row's own entry among others (UCCH; instance discrimination).

    Args:
        positive: (B,) logits of each row's own entry of a memory.
        others: (B, K) logits of other entries; -inf leaves one out.
    """
    return (torch.cat([positive[:, None], others], 1).logsumexp(1) - positive).mean()


def similarity_mse(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of two similarity matrices; the teacher gets no gradient (LCDH)."""
    return (student - teacher.detach()).square().mean()


def symmetric_bernoulli_kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return the mean over bits of KL(p || q) + KL(q || p) of Bernoulli probabilities (B, b), cut at 1e-6."""
    p, q = p.clamp(1e-6, 1 - 1e-6), q.clamp(1e-6, 1 - 1e-6)
    return ((p - q) * (torch.logit(p) - torch.logit(q))).mean()
