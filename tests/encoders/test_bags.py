"""Bags of words by their known words alone, against the dense layer on rows of counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from limbeck.encoders.bags import Bags, bag_linear, store_by_input
from limbeck.encoders.config import BagConfig, TowerConfig
from limbeck.encoders.features import BagBackbone
from limbeck.encoders.inputs import Bagged, Cached, map_tensors
from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.encoders.towers import Tower

TEXTS = ["a red dog", "dog dog dog cat", "", "unknown words only", "red cat red sky", "sky"]
SETS = [[0], [4, 1, 1], [2], [3], [1], [5, 2]]


@pytest.fixture
def bag() -> BagBackbone:
    bag = BagBackbone(BagConfig(vocabulary_size=5))
    bag.fit([text for text in TEXTS if not text.startswith("unknown")], seed=0)
    return bag


def read(bag: BagBackbone, beside: int = 3, dtype: torch.dtype = torch.float32) -> Bagged:
    torch.manual_seed(0)
    found = Bags(bag, TEXTS).inputs(SETS, torch.randn(len(SETS), beside, dtype=dtype))
    return Bagged(bag, found.columns, found.values.to(dtype), found.beside)


def test_the_words_are_the_counts_that_are_not_zero(bag: BagBackbone) -> None:
    starts, columns, values = bag.preprocessor.counted(TEXTS)
    assert starts.tolist() == [0, 3, 5, 5, 5, 8, 9] and bag.vocabulary == ["cat", "dog", "red", "sky", "a"]
    assert columns[:5].tolist() == [4, 2, 1, 1, 0]
    np.testing.assert_allclose(values[3:5], [3 / 10**0.5, 1 / 10**0.5], rtol=1e-6)
    assert starts.dtype == columns.dtype == np.int64 and values.dtype == np.float32


def test_rows_are_those_of_the_backbone_and_sets_are_averaged(bag: BagBackbone) -> None:
    found = read(bag).dense()
    rows = bag(bag.collate(TEXTS))
    assert torch.equal(found[[0, 2, 3, 4], :5], rows[[0, 2, 3, 1]])  # single texts to the last bit
    for row, own in enumerate(SETS):
        torch.testing.assert_close(found[row, :5], rows[own].mean(0))
    assert torch.equal(found[:, 5:], read(bag).beside)


@pytest.mark.parametrize("beside", [0, 3])
@pytest.mark.parametrize("by_input", [True, False])
def test_output_and_gradients_are_those_of_the_dense_layer(
    bag: BagBackbone, beside: int, by_input: bool
) -> None:
    bag.double()
    inputs, linear = read(bag, beside, torch.float64), nn.Linear(5 + beside, 4, dtype=torch.float64)
    if by_input:
        store_by_input(linear)
    upstream = torch.randn(len(SETS), 4, dtype=torch.float64)
    results = []
    for output in (linear(inputs.dense()), bag_linear(linear, inputs)):
        linear.zero_grad()
        output.backward(upstream)
        assert linear.weight.grad is not None and linear.bias.grad is not None
        results.append((output.detach(), linear.weight.grad.clone(), linear.bias.grad.clone()))
    for dense, sparse in zip(*results, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-9, atol=1e-12)


def test_texts_without_any_known_word(bag: BagBackbone) -> None:
    inputs = Bags(bag, ["", "unknown"]).inputs([[0], [1]], torch.zeros(2, 0))
    linear = nn.Linear(5, 4)
    output = bag_linear(linear, inputs)
    output.sum().backward()
    torch.testing.assert_close(output, linear(inputs.dense()))
    assert inputs.columns.shape == (2, 0) and linear.weight.grad is not None


def test_autocast_rounds_the_part_beside_the_bag_alone(bag: BagBackbone) -> None:
    inputs, linear = read(bag), nn.Linear(8, 4)
    with torch.autocast("cpu", torch.bfloat16):
        half, words = bag_linear(linear, inputs), bag_linear(nn.Linear(5, 4), read(bag, 0))
    torch.testing.assert_close(half, linear(inputs.dense()), rtol=0.02, atol=0.02)
    assert half.dtype == words.dtype == torch.float32
    half.sum().backward()
    assert linear.weight.grad is not None and linear.weight.grad.dtype == torch.float32


def steps(tower: Tower, inputs: Bagged | Cached, count: int) -> torch.Tensor:
    """Train a tower by fused AdamW, as training does, and return its last output."""
    optimizer = torch.optim.AdamW(tower.parameters(), lr=0.1, fused=True)
    for _ in range(count):
        optimizer.zero_grad(set_to_none=True)
        tower(inputs).square().sum().backward()
        optimizer.step()
    return tower(inputs).detach()


def test_training_is_that_of_the_dense_tower(bag: BagBackbone, tmp_path: Path) -> None:
    towers = []
    for _ in range(2):
        torch.manual_seed(0)
        tower = Tower(TowerConfig(backbone=BagConfig(vocabulary_size=5), hidden=[4], dropout=0.0), "text")
        tower.fit([text for text in TEXTS if not text.startswith("unknown")], seed=0)
        towers.append(tower.double())
    inputs = read(towers[1].backbone, 0, torch.float64)  # type: ignore[arg-type]
    towers[1].prepare_training()
    trained = [steps(towers[0], Cached(inputs.dense()), 20), steps(towers[1], inputs, 20)]
    torch.testing.assert_close(trained[1], trained[0], rtol=1e-5, atol=1e-8)
    # On disk both have the names, shapes and order in memory that a model always had.
    save_tensors(tmp_path / "model.safetensors", towers[1].state_dict())
    kept = load_tensors(tmp_path / "model.safetensors")
    assert kept["trunk.0.weight"].shape == (4, 5) and kept.keys() == towers[0].state_dict().keys()
    torch.testing.assert_close(
        kept["trunk.0.weight"], towers[0].state_dict()["trunk.0.weight"], rtol=1e-5, atol=1e-8
    )


def test_tensors_of_a_batch_go_by_row(bag: BagBackbone) -> None:
    inputs = read(bag)
    part = map_tensors(inputs, lambda x: x[2:4])
    assert isinstance(part, Bagged) and torch.equal(part.dense(), inputs.dense()[2:4])
