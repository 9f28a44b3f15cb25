"""Losses of the hashing field against naive loops in float64, and their gradients by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch

from limbeck.losses import (
    ancestor_triplets,
    cosine,
    cross_ranking,
    distance_margin,
    griesmer_threshold,
    irrelevant_margin,
    label_contrast,
    memory_contrast,
    proxy_margin,
    reciprocal_triplets,
    similarity_mse,
    softness,
    symmetric_bernoulli_kl,
)


def random(*shape: int, seed: int = 0, grad: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def binary(*shape: int, seed: int = 0) -> torch.Tensor:
    return (random(*shape, seed=seed) > 0.3).double()


def cos(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_distance_margin_by_loops() -> None:
    """Through the probabilities of DCHMT's pairs of logits, where its public code measures."""
    a, b, similar = random(5, 6).tanh(), random(4, 6, seed=1).tanh(), binary(5, 4)
    pairs = [np.stack([(1 + x) / 2, (1 - x) / 2], -1).reshape(len(x), -1) for x in (a.numpy(), b.numpy())]
    for share in (0.5, 0.1):
        m, near, far = np.sqrt(2 * 6 * share), [], []
        for i, j in product(range(5), range(4)):
            d = np.linalg.norm(pairs[0][i] - pairs[1][j])
            near.append(similar[i, j] * d**2)
            far.append((1 - similar[i, j]) * max(m - d, 0) ** 2)
        found = float(distance_margin(a, b, similar, share))
        assert found == pytest.approx(np.mean(near) + np.mean(far), abs=1e-6)
    same = a.clone().requires_grad_()
    distance_margin(same, same, torch.eye(5, dtype=torch.float64)).backward()
    assert same.grad is not None and bool(same.grad.isfinite().all())
    assert float(softness(torch.tensor([[1.0, -1.0]]))) == 0.0
    assert float(softness(a)) == pytest.approx(1 - np.mean(a.numpy() ** 2))


@pytest.mark.parametrize("pace", [0.0, 0.4, 1.0])
def test_label_contrast_by_loops(pace: float) -> None:
    a, b, similar = random(5, 6), random(4, 6, seed=1), binary(5, 4)
    similar[2] = 0
    terms = []
    for i in range(5):
        own = rest = 0.0
        for j in range(4):
            c = cos(a[i].numpy(), b[j].numpy())
            if similar[i, j]:
                own += np.exp(c / 0.3) * np.exp(-1 - c) ** (pace / 4)
            else:
                rest += np.exp(c / 0.3) * np.exp(-1 + c) ** pace
        if similar[i].any():
            terms.append(-np.log(own / (own + rest)))
    assert float(label_contrast(a, b, similar, 0.3, pace)) == pytest.approx(np.mean(terms), abs=1e-9)
    grad = random(3, 6, grad=True)
    label_contrast(grad, b, torch.zeros(3, 4), 0.3, pace).backward()
    assert grad.grad is not None and float(grad.grad.abs().sum()) == 0.0


def test_cross_ranking_by_loops() -> None:
    s = random(5, 5).numpy()
    total = 0.0
    for table in (s, s.T):
        for i in range(5):
            cut = [x if x >= table[i, i] - 0.2 else x - 1 for x in table[i]]
            total += (0.2 - table[i, i] + np.log(np.exp(cut).sum())) / 5
    assert float(cross_ranking(torch.from_numpy(s))) == pytest.approx(total, abs=1e-9)


def test_memory_contrast_by_loops() -> None:
    own, others = random(4), random(4, 7, seed=1)
    others[1, 3] = -torch.inf
    terms = []
    for i in range(4):
        kept = [float(x) for x in others[i] if x > -torch.inf]
        terms.append(np.log(np.exp([float(own[i]), *kept]).sum()) - float(own[i]))
    assert float(memory_contrast(own, others)) == pytest.approx(np.mean(terms), abs=1e-9)


def test_gaps_by_loops() -> None:
    a, b = random(4, 5), random(4, 5, seed=1)
    assert float(similarity_mse(a, b)) == pytest.approx(np.mean((a.numpy() - b.numpy()) ** 2))
    teacher = random(2, 2, grad=True)
    similarity_mse(random(2, 2, grad=True), teacher).backward()
    assert teacher.grad is None
    p, q = a.sigmoid(), b.sigmoid()
    terms = []
    for x, y in zip(p.flatten().tolist(), q.flatten().tolist(), strict=True):
        kl = [u * np.log(u / v) + (1 - u) * np.log((1 - u) / (1 - v)) for u, v in ((x, y), (y, x))]
        terms.append(sum(kl))
    assert float(symmetric_bernoulli_kl(p, q)) == pytest.approx(np.mean(terms), abs=1e-9)
    assert np.isfinite(float(symmetric_bernoulli_kl(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.5]))))


def test_proxy_margin_by_loops() -> None:
    x, p, labels = random(5, 6), random(3, 6, seed=1), binary(5, 3)
    table = cosine(x, p)
    pull, push, apart = [], [], []
    for i, c in product(range(5), range(3)):
        value = cos(x[i].numpy(), p[c].numpy())
        assert float(table[i, c]) == pytest.approx(value)
        pull += [1 - value] if labels[i, c] else []
        push += [] if labels[i, c] else [max(0.0, value - 0.1)]
    assert float(proxy_margin(table, labels, 0.1)) == pytest.approx(np.mean(pull) + np.mean(push))
    labels = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1.0]])
    own = cosine(x, x)
    for i, j in product(range(5), range(5)):
        if min(labels[i].sum(), labels[j].sum()) > 1 and not (labels[i] * labels[j]).any():
            apart.append(max(0.0, float(own[i, j]) + 0.5))
    assert len(apart) == 4
    assert float(irrelevant_margin(own, labels, -0.5)) == pytest.approx(np.mean(apart))
    assert float(irrelevant_margin(own, torch.eye(5), 0.0)) == 0.0
    assert float(proxy_margin(own, torch.ones(5, 5), 0.0)) == pytest.approx(float((1 - own).mean()))


def test_griesmer_threshold_against_known_codes() -> None:
    """Reed-Muller and simplex codes: (16, 5, 8), (32, 6, 16), (64, 7, 32); (8, 4, 4)."""
    assert [griesmer_threshold(b, 24) for b in (16, 32, 64)] == [0, 0, 0]
    assert [griesmer_threshold(b, c) for b, c in ((16, 32), (32, 64), (64, 128), (8, 16))] == [0, 0, 0, 0]
    assert griesmer_threshold(16, 80) == pytest.approx(1 - 2 * 6 / 16)  # (16, 7, 6)
    assert griesmer_threshold(16, 2) == -1.0
    assert griesmer_threshold(8, 2**20) == pytest.approx(1 - 2 / 8)


def test_ancestor_triplets_by_loops() -> None:
    distances, noise = random(6, 4).abs(), 9 * random(2, 3, 4, seed=3)
    d, draws = distances.numpy(), noise.numpy()
    triplets = (torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), torch.tensor([5, 0, 1]))
    terms = []
    for t in range(3):
        i, j, k = (int(rows[t]) for rows in triplets)
        pair = np.maximum(d[i], d[j])
        p = int(np.argmax(-pair / 0.1 + draws[0, t]))
        q = int(np.argmax(-np.maximum(pair, d[k]) / 0.1 + draws[1, t]))
        hinge = [max(0, d[i, p] - d[i, q] + 0.1), max(0, d[j, p] - d[j, q] + 0.1)]
        terms.append((sum(hinge) + max(0, d[k, q] - d[k, p] + 0.1)) * (p != q))
    assert any(terms)
    found = ancestor_triplets(distances, triplets, (noise[0], noise[1]))
    assert float(found) == pytest.approx(float(np.mean(terms)), abs=1e-9)


def test_reciprocal_triplets_are_mutual_neighbours() -> None:
    similarity = random(12, 12)
    similarity = similarity + similarity.T + 9 * torch.eye(12)
    i, j, k = reciprocal_triplets(similarity, 4, 200, torch.Generator().manual_seed(0))
    near = [set(row.topk(4).indices.tolist()) for row in similarity]
    assert len(i) == 200
    for a, b, c in zip(i.tolist(), j.tolist(), k.tolist(), strict=True):
        assert b in near[a] and a in near[b] and a != b
        assert c != a and not (c in near[a] and a in near[c])
    again = reciprocal_triplets(similarity, 4, 200, torch.Generator().manual_seed(0))
    assert torch.equal(again[1], j) and torch.equal(again[2], k)
    assert len(reciprocal_triplets(torch.eye(3), 1, 5, torch.Generator())[0]) == 0


SIMILAR = binary(4, 4, seed=9)
TRIPLETS = (torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([3, 0]))


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: distance_margin(a.tanh(), b.tanh(), SIMILAR),
        lambda a, b: softness(a.tanh()) * softness(b.tanh()),
        lambda a, b: label_contrast(a, b, SIMILAR, 0.3, 0.0),
        lambda a, b: cross_ranking(a @ b.T),
        lambda a, b: memory_contrast(a[:, 0], a @ b.T),
        lambda a, b: similarity_mse(cosine(a, b), SIMILAR),
        lambda a, b: symmetric_bernoulli_kl(a.sigmoid(), b.sigmoid()),
        lambda a, b: proxy_margin(cosine(a, b), SIMILAR, 0.0),
        lambda a, b: irrelevant_margin(cosine(a, b), torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]] * 2), -2.0),
    ],
)
def test_gradients(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    inputs = (random(4, 3, seed=1, grad=True), random(4, 3, seed=2, grad=True))
    assert torch.autograd.gradcheck(loss, inputs)
