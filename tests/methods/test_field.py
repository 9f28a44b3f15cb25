"""The rivals: what they read, their state, a tiny set learnt through the loop; DCMH and MITH again in numpy.

SSAH, LCDH, DHaPH, UCCH, CMIMH, CroVCA and KDPH are written down again in `field_oracles`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from field_made import BITS, made, recipe, write_field

import limbeck
from limbeck.evaluation import evaluate
from limbeck.methods import METHODS, TrainState
from limbeck.methods.hashing.cmimh import sample_bits
from limbeck.methods.hashing.ssah import told_apart
from limbeck.training import fit, train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method
from raising import raises_code

SUPERVISED = ("dcmh", "ssah", "dchmt", "dsph", "mith", "dhaph", "lcdh", "kdph", "crovca-labels")
RIVALS = (*SUPERVISED, "ucch", "cmimh", "crovca")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_field(tmp_path_factory.mktemp("field"))


def test_what_they_read() -> None:
    for name in RIVALS:
        assert METHODS[name].supervised == (name in SUPERVISED)
        specs = METHODS[name].inputs(METHODS[name].Config())
        assert {key: spec.column for key, spec in specs.items()} == {"image": "image", "text": "text"}


@pytest.mark.parametrize("name", RIVALS)
def test_objective_is_a_function_of_rows_and_step(place: Path, name: str) -> None:
    """The same step twice, from one state, gives one loss; both towers learn from it."""
    found = []
    for _ in range(2):
        method, batches = made(place, name)
        batch = batches.at(0)
        losses = method.loss(method.encode_batch(batch), TrainState(5, 10, 0, 0))
        losses.total.backward()
        found.append(losses.value)
        assert np.isfinite(losses.value)
        for tower in method.encoder.towers.values():
            assert any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in tower.parameters())
    assert found[0] == found[1]


@pytest.mark.parametrize("name", RIVALS)
def test_learns_a_tiny_set(place: Path, name: str, tmp_path: Path) -> None:
    small: dict[str, Any] = {"dhaph": {"proxies": 20, "triplets": 32}, "ssah": {"semantic": 32}}
    run = train(recipe(place, name, 50, **small.get(name, {})), out=tmp_path / name, quiet=True)
    result = evaluate(run, place / "pairs", place / "hashing.yaml", ceiling=False)
    for way in ("i2t", "t2i"):
        assert result.metrics[way]["map"] > result.metrics[way]["floor"] + 0.08
    model = limbeck.load(run)
    assert model.encode_text(["cat dog"]).shape == (1, BITS // 8)


@pytest.mark.parametrize("name", ["dcmh", "ucch"])
def test_state_survives_a_resume(place: Path, name: str, tmp_path: Path) -> None:
    """Buffers and memories are part of the checkpoint: stopped and resumed equals never stopped."""
    tree = recipe(place, name, 6)
    whole = limbeck.load(train(tree, out=tmp_path / "whole", quiet=True))
    steps, keep = [0], fit.forward_backward

    def stop(*given: Any) -> Any:
        steps[0] += 1
        if steps[0] == 6:
            raise KeyboardInterrupt
        return keep(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "forward_backward", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tree, out=tmp_path / "cut", quiet=True)
    again = limbeck.load(train(tree, out=tmp_path / "cut", resume=True, quiet=True))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def sides(reps: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, v = (getattr(reps, m).detach().double().numpy() for m in ("image", "text"))
    labels = reps.labels.numpy() if hasattr(reps, "labels") else np.zeros((len(u), 1))
    return u, v, labels


def nll(theta: np.ndarray, similar: np.ndarray) -> float:
    return float((np.logaddexp(0, theta) - similar * theta).mean())


def test_dcmh_is_equation_1_over_the_rows_of_a_batch(place: Path) -> None:
    """The sum of eq. 1, written out over the whole set, divided by n and the batch."""
    method, batches = made(place, "dcmh", quantization=0.7, balance=0.3)
    n, first = len(batches.view), batches.at(0)
    rng = np.random.default_rng(0)
    f, g = np.tanh(rng.standard_normal((2, n, BITS)))
    method.buffer.write(  # type: ignore[union-attr, operator]
        torch.arange(n), batches.view.labels, image=torch.from_numpy(f), text=torch.from_numpy(g)
    )
    reps = method.encode_batch(first)
    method.update_buffers(reps, TrainState(1, 10, 2, 0))
    losses = method.loss(reps, TrainState(1, 10, 2, 0))
    u, v, labels = sides(reps)
    rows = first.rows.numpy()
    f[rows], g[rows] = u, v
    assert batches.view.labels is not None
    similar = labels @ batches.view.labels.numpy().T > 0
    codes = np.where(u + v >= 0, 1.0, -1.0)
    theta = [0.5 * u @ g.T, 0.5 * v @ f.T]
    spread = ((codes - u) ** 2).sum() + ((codes - v) ** 2).sum()
    total = sum(nll(t, similar) * len(u) * n for t in theta) + 0.7 * spread
    even = (u.mean(0) ** 2).sum() + (v.mean(0) ** 2).sum()  # its gradient is that of |F' 1|^2 for such a mean
    assert losses.value == pytest.approx(total / (n * len(u)) + 0.3 * even, rel=1e-5)


def test_mith_by_hand(place: Path) -> None:
    method, batches = made(place, "mith")
    reps = method.encode_batch(batches.at(0))
    method.update_buffers(reps, TrainState(0, 10, 2, 0))
    losses = method.loss(reps, TrainState(0, 10, 2, 0))
    u, v, labels = sides(reps)
    n, rows = len(batches.view), reps.rows.numpy()
    f, g, all_labels = np.zeros((n, BITS)), np.zeros((n, BITS)), np.zeros((n, labels.shape[1]))
    f[rows], g[rows], all_labels[rows] = u, v, labels
    similar = labels @ all_labels.T > 0
    inter = nll(0.5 * u @ g.T, similar) + nll(0.5 * v @ f.T, similar)
    codes = np.where(u + v >= 0, 1.0, -1.0)
    spread = ((u - codes) ** 2).mean() + ((v - codes) ** 2).mean()
    a, b = (getattr(reps, f"{m}_features").detach().double().numpy() for m in ("image", "text"))
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)
    scores = a @ b.T / 0.07
    contrast = np.mean([np.logaddexp.reduce(s, 1).mean() - np.trace(s) / len(s) for s in (scores, scores.T)])
    assert losses.value == pytest.approx(10 * inter + 8 * spread + 50 * contrast, rel=1e-5)


@pytest.mark.parametrize("name", ["dcmh", "mith"])
def test_buffers_wait_for_two_epochs(place: Path, name: str) -> None:
    """In the first epochs what was kept does not matter, then it does."""
    found = {}
    for epoch in (0, 2):
        for kept in (0.0, 0.9):
            method, batches = made(place, name)
            method.buffer["image"].fill_(kept)  # type: ignore[index, union-attr]
            method.buffer["text"].fill_(kept)  # type: ignore[index, union-attr]
            found[epoch, kept] = method.loss(
                method.encode_batch(batches.at(0)), TrainState(0, 10, epoch, 0)
            ).value
    assert found[0, 0.0] == found[0, 0.9]
    assert found[2, 0.0] != found[2, 0.9]


def test_dsph_and_dchmt_sum_their_parts(place: Path) -> None:
    method, batches = made(place, "dsph")
    assert method.proxies.shape == (4, BITS)  # type: ignore[union-attr]
    losses = method.loss(method.encode_batch(batches.at(0)), TrainState(0, 10, 0, 0))
    p = {k: float(v) for k, v in losses.parts.items()}
    assert losses.value == pytest.approx(p["image_proxies"] + p["text_proxies"] + 0.8 * p["irrelevant"])
    method, batches = made(place, "dchmt")
    losses = method.loss(method.encode_batch(batches.at(0)), TrainState(0, 10, 0, 0))
    p = {k: float(v) for k, v in losses.parts.items()}
    assert losses.value == pytest.approx(p["between"] + p["within"] + 0.001 * p["quantization"])


def test_dhaph_hierarchy_reaches_the_codes_only_when_asked(place: Path) -> None:
    """The public code cuts the gradient: proxies learn, codes do not hear of them."""
    found: dict[tuple[bool, float], torch.Tensor] = {}
    for detach in (True, False):
        for weight in (0.0, 1.0):
            options = {"proxies": 20, "triplets": 64, "margin": 2.0, "neighbours": 4, "hierarchy": weight}
            method, batches = made(place, "dhaph", detach=detach, **options)
            reps = method.encode_batch(batches.at(0)).map(torch.Tensor.detach)
            reps.image.requires_grad_()
            losses = method.loss(reps, TrainState(0, 10, 0, 0))
            assert float(losses.parts["hierarchy"]) > 0
            losses.total.backward()
            assert reps.image.grad is not None
            found[detach, weight] = reps.image.grad
            assert (method.ancestors.grad is not None) == (weight > 0)  # type: ignore[union-attr]
    assert torch.equal(found[True, 0.0], found[True, 1.0])
    assert not torch.allclose(found[False, 0.0], found[False, 1.0])


def test_ssah_judges_push_against_the_towers(place: Path) -> None:
    """One loss: its gradient at the semantic features has the sign of fooling, at the judge of judging."""
    method, batches = made(place, "ssah")
    reps = method.encode_batch(batches.at(0))
    features = reps.image_semantic
    features.retain_grad()
    judge = method.judge["image"]  # type: ignore[index]
    plain = features.detach().clone().requires_grad_()
    torch.nn.functional.softplus(judge(plain)).mean().backward()
    judge.zero_grad()
    told_apart(reps.image_verdict, reps.image_label_verdict).backward()
    assert plain.grad is not None and features.grad is not None and features.grad.abs().max() > 0
    torch.testing.assert_close(features.grad, -plain.grad)
    assert all(p.grad is not None for p in judge.parameters())
    assert all(p.grad is None for p in method.label_net.parameters())  # type: ignore[union-attr]


def test_ucch_memory_follows_with_momentum(place: Path) -> None:
    method, batches = made(place, "ucch")
    batch = batches.at(0)
    reps, rows = method.encode_batch(batch), batch.rows
    before = method.memory.clone()  # type: ignore[operator, union-attr]
    u, v, _ = sides(reps)
    unit = u / np.linalg.norm(u, axis=1, keepdims=True) + v / np.linalg.norm(v, axis=1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for epoch, keep in ((0, 0.0), (1, 0.4)):
        method.memory.copy_(before)  # type: ignore[operator, union-attr]
        method.after_step(reps, TrainState(0, 10, epoch, 0))
        expected = keep * before[rows].numpy() + (1 - keep) * unit
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(method.memory[rows].numpy(), expected, atol=1e-6)  # type: ignore[index]
        others = np.setdiff1d(np.arange(len(before)), rows.numpy())
        assert torch.equal(method.memory[others], before[others])  # type: ignore[index]


def test_cmimh_samples_bits_and_keeps_their_gradient() -> None:
    p = torch.full((4000, 4), 0.8, requires_grad=True)
    bits = sample_bits(p, torch.Generator().manual_seed(0))
    assert set((2 * bits.detach()).round(decimals=4).unique().tolist()) == {-1.0, 1.0}
    assert float((bits > 0).float().mean()) == pytest.approx(0.8, abs=0.02)
    bits.sum().backward()
    assert p.grad is not None and p.grad.unique().tolist() == [1.0]


def test_towers_of_two_widths_are_one_line(place: Path) -> None:
    tree = recipe(place, "mith", 1)
    tree["towers"]["text"]["hidden"] = [10]
    resolved = load_recipe(tree)
    with raises_code("E-CONFIG-VALUE", "12", "10"):
        build_method(resolved.last, open_data(resolved), {}, 0)


@pytest.mark.parametrize("name", RIVALS)
def test_recipes_that_ship(name: str) -> None:
    resolved = load_recipe(f"soda/mirflickr-{name}")
    (stage,) = resolved.stages.values()
    base = load_recipe("soda/mirflickr-direct").last
    assert stage.method == {"name": name}
    assert stage.towers == base.towers
    assert stage.schedule.steps == base.schedule.steps == 2000
