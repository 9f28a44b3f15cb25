"""Whole losses of the methods in `field_oracles`, and their networks, against loops in float64.

Every part, the total and the gradient in each output are compared on one small batch. A method that draws
random numbers and its oracle take them from equal generators.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import field_oracles as oracle
import numpy as np
import pytest
import torch
from field_made import made, write_field

from limbeck.methods import TrainState

PAIRS = 8
THETA = 4.0
Parts = Callable[[oracle.Arrays, oracle.Arrays], dict[str, float]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_field(tmp_path_factory.mktemp("oracles"))


class Case:
    """A method on its first batch; ``x``: its outputs in float64, of floats alone."""

    def __init__(self, place: Path, name: str, **options: Any) -> None:
        self.method: Any
        self.method, batches = made(place, name, batch_size=PAIRS, **options)
        self.batch = batches.at(0)
        self.outputs = self.method.encode_batch(self.batch)
        found = self.outputs.tensors().items()
        self.x = {key: rows.detach().double().numpy() for key, rows in found if rows.is_floating_point()}
        self.labels = self.batch.known_labels.double().numpy()
        shared = [oracle.share(a, b) for a in self.labels for b in self.labels]
        assert 0 < sum(shared) < len(shared)

    def check_outputs(self, network: Callable[..., oracle.Arrays], *more: np.ndarray) -> None:
        """The networks, from the backbones' outputs to what the loss reads."""
        towers = self.method.encoder.towers
        h = {m: towers[m].backbone_output(self.batch.inputs[m]).double().numpy() for m in oracle.SIDES}
        w = {key: value.detach().double().numpy() for key, value in self.method.state_dict().items()}
        expected = network(w, h, *more)
        assert set(expected) == set(self.x) - {"labels"}
        for key, rows in expected.items():
            np.testing.assert_allclose(self.x[key], rows, atol=1e-5, err_msg=key)

    def check_loss(self, state: TrainState, parts: Parts, weights: dict[str, float]) -> None:
        """Parts, total and the gradient in each output, along one direction a tensor."""
        method = self.method.double()
        leaves = self.outputs.map(
            lambda x: x.detach().double().requires_grad_() if x.is_floating_point() else x
        )
        losses = method.loss(leaves, state)
        expected = parts(self.x, self.x)
        assert {name: float(value) for name, value in losses.parts.items()} == pytest.approx(
            expected, rel=1e-6
        )

        def total(name: str, x: np.ndarray) -> float:
            found = parts(self.x | {name: x}, self.x)
            return sum(weights[part] * value for part, value in found.items())

        assert losses.value == pytest.approx(total("labels", self.labels), rel=1e-6)
        losses.total.backward()
        rng = np.random.default_rng(0)
        for name in set(self.x) - {"labels"}:
            grad = leaves.tensors()[name].grad
            assert grad is not None, name
            way = rng.standard_normal(grad.shape)
            rise = total(name, self.x[name] + 1e-6 * way) - total(name, self.x[name] - 1e-6 * way)
            assert float((grad.numpy() * way).sum()) == pytest.approx(rise / 2e-6, rel=1e-4, abs=1e-7), name


def test_ssah(place: Path) -> None:
    weights = {"features": 0.7, "codes": 1.3, "quantization": 0.4, "labels": 0.9, "adversarial": 0.6}
    case = Case(place, "ssah", semantic=6, **weights)
    case.check_outputs(oracle.ssah_outputs, case.labels)
    case.check_loss(
        TrainState(3, 10, 0, 0), lambda x, held: oracle.ssah(x, held, case.labels, THETA), weights
    )


@pytest.mark.parametrize(("step", "rising"), [(0, 0.0), (2, 0.4), (7, 1.0)])
def test_lcdh(place: Path, step: int, rising: float) -> None:
    """The student's weight rises over half of 10 steps."""
    options = {"distil": 3.0, "contrast": 0.2, "quantization": 0.1, "lead": 0.5, "temperature": 0.3}
    case = Case(place, "lcdh", width=8, **options)
    case.check_outputs(oracle.lcdh_outputs)
    case.check_loss(
        TrainState(step, 10, 0, 0),
        lambda x, held: oracle.lcdh(x, held, case.labels, THETA, rising, 0.3),
        {"teacher": 1.0, "distil": 3.0 * rising, "contrast": 0.2 * rising, "quantization": 0.1},
    )


def gumbel(generator: torch.Generator, *shape: int) -> np.ndarray:
    return -np.log(-np.log(torch.rand(shape, generator=generator).double().numpy().clip(1e-20)))


def hierarchy(case: Case, x: oracle.Arrays, generator: torch.Generator, count: int) -> float:
    """H of DHaPH with 2 neighbours, margin 0.2, c = 0.1 and clipping at 2.3, in the Poincare ball."""
    w = {key: value.detach().double().numpy() for key, value in case.method.state_dict().items()}

    def distances(a: list[np.ndarray], b: list[np.ndarray]) -> np.ndarray:
        return oracle.table(a, b, lambda p, q: oracle.ball_distance(p, q, 0.1))  # type: ignore[arg-type]

    ancestors = [oracle.ball(row, 0.1, 2.3) for row in w["ancestors"]]
    labels, total = case.labels, 0.0
    for key, times in (("image", 1), ("text", 1), ("ancestors", 2)):
        points, bonus = ancestors, np.zeros((len(ancestors), len(ancestors)))
        if key != "ancestors":
            points = [oracle.ball(row, 0.1, 2.3) for row in oracle.linear(w, "to_tangent", x[key])]
            bonus = oracle.table(labels, labels, oracle.share)
        mutual = oracle.nearest(np.exp(-distances(points, points)) + bonus, 3)
        usable = sum(1 for row in mutual if row.any() and sum(row) < len(row) - 1)
        draws = {"anchor": torch.randint(usable, (count,), generator=generator).numpy()}
        draws |= {key: torch.rand((count, len(points)), generator=generator).numpy() for key in "jk"}
        draws["gumbel"] = gumbel(generator, 2, count, len(ancestors))
        total += times * oracle.triplet_hinges(distances(points, ancestors), mutual, draws, 0.2)
    assert total > 0
    return total


@pytest.mark.parametrize(("step", "pace"), [(0, 0.1), (3, 0.4), (9, 1.0), (20, 1.0)])
def test_dhaph(place: Path, step: int, pace: float) -> None:
    """The pace rises over a third of 30 steps; distances are those of the Poincare ball of the paper."""
    options = {"temperature": 0.4, "hierarchy": 0.5, "margin": 0.2, "neighbours": 3}
    case = Case(place, "dhaph", proxies=12, triplets=20, **options)
    case.check_outputs(oracle.codes)
    state = TrainState(step, 30, 0, 0)

    def parts(x: oracle.Arrays, held: oracle.Arrays) -> dict[str, float]:
        return {
            "contrast": oracle.self_paced(x, held, case.labels, 0.4, pace),
            "hierarchy": hierarchy(case, held, state.generator(), 20),
        }

    case.check_loss(state, parts, {"contrast": 1.0, "hierarchy": 0.5})


@pytest.mark.parametrize("epoch", [0, 1])
def test_ucch(place: Path, epoch: int) -> None:
    """In the first epoch a batch is its own memory, then 30 negatives are drawn for the whole batch."""
    case = Case(place, "ucch", contrast=0.7, temperature=0.8, margin=0.1, shift=0.6, negatives=30)
    case.check_outputs(oracle.codes)
    state, rows = TrainState(4, 10, epoch, 0), case.batch.rows.numpy()
    memory = None if epoch == 0 else case.method.memory.double().numpy()
    drawn = torch.randint(len(case.method.memory), (30,), generator=state.generator()).numpy()
    assert set(rows) & set(drawn)
    case.check_loss(
        state,
        lambda x, held: oracle.ucch(
            x, held, rows, memory, rows if memory is None else drawn, case.method.config
        ),
        {"contrast": 0.7, "ranking": 0.3},
    )


def test_cmimh(place: Path) -> None:
    case = Case(place, "cmimh", intra=0.4, gap=0.3, temperature=0.5)
    case.check_outputs(oracle.cmimh_outputs)
    state = TrainState(4, 10, 0, 0)
    draw = state.generator()
    drawn = {m: torch.rand(case.x[m].shape, generator=draw).numpy() for m in oracle.SIDES}
    case.check_loss(
        state,
        lambda x, held: oracle.cmimh(x, held, drawn, 0.5),
        {"cross": 1.0, "intra": 0.4, "gap": 0.3},
    )


def swapped(held: oracle.Arrays) -> oracle.Arrays:
    return {"image": held["text"], "text": held["image"]}


def test_crovca(place: Path) -> None:
    case = Case(place, "crovca", rate=0.3, eps=0.1)
    case.check_outputs(oracle.crovca_outputs)
    case.check_loss(
        TrainState(4, 10, 0, 0),
        lambda x, held: oracle.crovca(x, swapped(held), 0.1),
        {"align": 1.0, "rate": 0.3},
    )


@pytest.mark.parametrize("view", ["item", "mean"])
def test_crovca_with_labels(place: Path, view: str) -> None:
    """An item without a label predicts the bits of its own pair."""
    case = Case(place, "crovca-labels", rate=0.3, eps=0.1, view=view)
    case.labels[2] = case.outputs.labels[2] = case.x["labels"][2] = 0
    state = TrainState(4, 10, 0, 0)
    draws = torch.rand((PAIRS, PAIRS), generator=state.generator()).numpy()

    def targets(held: oracle.Arrays) -> oracle.Arrays:
        if view == "mean":
            return oracle.crovca_means(held, case.labels)
        rows = []
        for i, own in enumerate(case.labels):
            fits = [j for j in range(PAIRS) if j != i and oracle.share(own, case.labels[j])]
            rows.append(min(fits, key=draws[i].__getitem__, default=i))
        assert rows[2] == 2 and sum(j != i for i, j in enumerate(rows)) > 3
        return {m: numbers[rows] for m, numbers in swapped(held).items()}

    case.check_loss(state, lambda x, held: oracle.crovca(x, targets(held), 0.1), {"align": 1.0, "rate": 0.3})


def test_kdph(place: Path) -> None:
    """The random codes are given so that the distances sum to the least of all orders of the batch."""
    weights = {"irrelevant": 0.7, "contrast": 0.4, "noise": 0.3}
    case = Case(place, "kdph", margin=0.2, temperature=0.2, **weights)
    case.check_outputs(oracle.codes)
    with torch.no_grad():
        case.method.log_scales.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    state = TrainState(4, 10, 0, 0)
    w = {key: value.detach().double().numpy() for key, value in case.method.state_dict().items()}
    random = 2.0 * torch.randint(2, (PAIRS, 16), generator=state.generator()).numpy() - 1
    orders = np.array(list(permutations(range(PAIRS))))
    given = {}
    for m in oracle.SIDES:
        apart = oracle.table(case.x[m], random, lambda a, b: oracle.norm(a - b))
        given[m] = orders[apart[np.arange(PAIRS), orders].sum(1).argmin()]
    case.check_loss(
        state,
        lambda x, held: oracle.kdph(x, case.labels, w, random, given, 0.2),
        {"classes": 1.0, "irrelevant": 0.7, "contrast": 0.4, "noise": -0.3},
    )
