"""Dropout with few random bits: torch's distribution, torch's gradient, torch's random state."""

import pytest
import torch

from limbeck.encoders.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_and_scale_are_those_of_dropout(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(501, 1001, dtype=dtype)  # no multiple of four
    y = Dropout(p)(x)
    zeros = (y == 0).double().mean().item()
    n = x.numel()
    assert abs(zeros - p) < 5 * (p * (1 - p) / n) ** 0.5 + 2**-16
    expected = torch.tensor(1 / (1 - p), dtype=dtype)
    assert torch.allclose(y[y != 0], expected.expand(1), rtol=1e-2 if dtype == torch.bfloat16 else 1e-4)
    assert y.dtype == dtype


def test_each_of_the_four_places_of_a_word_drops_alike() -> None:
    torch.manual_seed(0)
    dropped = (Dropout(0.2)(torch.ones(400_000)) == 0).double()
    for place in range(4):
        assert abs(dropped[place::4].mean().item() - 0.2) < 0.005


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) != 0).double() - 0.5
    for lag in range(1, 9):
        assert abs((kept[lag:] * kept[:-lag]).mean().item()) < 0.002


def test_gradient_is_the_mask() -> None:
    x = torch.randn(33, 7, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), y.detach())


def test_the_random_state_decides() -> None:
    x = torch.ones(64, 64)
    torch.manual_seed(3)
    first, second = Dropout(0.2)(x), Dropout(0.2)(x)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.2)(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-9])
def test_ends(p: float) -> None:
    y = Dropout(p)(torch.ones(8, 8))
    assert torch.equal(y, torch.zeros(8, 8) if p == 1 else torch.ones(8, 8))


def test_nothing_is_dropped_in_evaluation() -> None:
    x = torch.randn(8, 8)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.5)(torch.empty(0, 4)).shape == (0, 4)
