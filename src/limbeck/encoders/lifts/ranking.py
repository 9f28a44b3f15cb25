"""Learn a linear map whose signs keep the ranking of the features (ours).

Queries are pictures, texts, and pictures moved to the mean of the texts, with noise and a text's direction,
which stand in for captions. The softmax of their similarities to the codes of the pictures is fitted to that
of the features' similarities.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional as F

STEPS, RATE, BATCH, ITEMS = 600, 2e-3, 256, 2048
# Chosen on held-out pictures and class names by `benchmarks/compress.py --choose`.
SHARPNESS = 3.0  # of the target: similarities in standard deviations are multiplied by it
NOISE, WORDS = 2.0, 1.0  # lengths of the noise and of the text's direction, beside a picture of length 1


class Learned(NamedTuple):
    """Means (D,) by modality, and the projection (D, bits)."""

    means: dict[str, torch.Tensor]
    projection: torch.Tensor


def learn_ranking(image: torch.Tensor, text: torch.Tensor, start: torch.Tensor, seed: int) -> Learned:
    """Learn means and projection from features of pictures (N, D) and texts (M, D), beginning with ``start``.

    Queries are compared with the pictures' signs as signs and as real numbers, so that the map serves both
    searches of codes.
    """
    rng = torch.Generator().manual_seed(seed)
    means = {"image": image.mean(0), "text": text.mean(0)}
    pictures, texts = image - means["image"], text - means["text"]
    unit = pictures.norm(dim=1).mean().clamp_min(1e-12)
    length = texts.norm(dim=1).mean() if len(texts) > 1 else unit
    bits, width = start.shape[1], image.shape[1]
    projection = (start / (pictures @ start).std().clamp_min(1e-12)).requires_grad_()
    shifts = {m: torch.zeros(width, requires_grad=True) for m in means}
    scales = torch.full((2,), math.log(10 / bits), requires_grad=True)
    parameters = [projection, scales, *shifts.values()]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        items = torch.randperm(len(image), generator=rng)[:ITEMS]
        stored = _signs((pictures[items] - shifts["image"] * unit) @ projection)
        own = _drawn(len(image), BATCH // 4, rng)
        source = _drawn(len(image), BATCH // 2, rng)
        spread = pictures[_drawn(len(image), len(source), rng)] * torch.randn(len(source), 1, generator=rng)
        words = texts[_drawn(len(text), len(source), rng)]
        moved = F.normalize(pictures[source], dim=1) + NOISE * F.normalize(spread, dim=1)
        moved = F.normalize(moved + WORDS * F.normalize(words, dim=1), dim=1) * length
        asked = {
            "image": pictures[own],
            "text": torch.cat([moved, texts[_drawn(len(text), BATCH // 4, rng)]]),
        }
        loss = image.new_zeros(())
        for modality, queries in asked.items():
            target = (queries + means[modality]) @ image[items].T
            target = (
                SHARPNESS
                * (target - target.mean(1, keepdim=True))
                / target.std(1, keepdim=True).clamp_min(1e-12)
            )
            hidden = own[:, None] == items if modality == "image" else torch.zeros(1, 1, dtype=torch.bool)
            target = target.masked_fill(hidden, -1e4).softmax(1)
            answers = (queries - shifts[modality] * unit) @ projection
            for scale, codes in zip(scales.exp(), (_signs(answers), answers), strict=True):
                logits = (scale * codes @ stored.T).masked_fill(hidden, -1e4)
                loss = loss + F.cross_entropy(logits, target) * len(queries)
        optimizer.zero_grad()
        loss.div(BATCH).backward()
        optimizer.step()
        schedule.step()
    means = {m: (means[m] + shifts[m] * unit).detach() for m in means}
    return Learned(means, projection.detach())


def _drawn(count: int, size: int, rng: torch.Generator) -> torch.Tensor:
    return torch.randint(count, (size,), generator=rng)


def _signs(values: torch.Tensor) -> torch.Tensor:
    """Return signs with the gradient of tanh."""
    relaxed = torch.tanh(values)
    return relaxed + (torch.where(values >= 0, 1.0, -1.0) - relaxed).detach()
