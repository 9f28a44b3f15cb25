"""The error of predicted pixels against a float64 loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.losses.masked import pixel_error


def test_pixel_error_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    guess, tiles = (torch.randn(3, 2, 12, dtype=torch.float64, generator=generator) for _ in range(2))
    found = pixel_error(guess, 5 * tiles + 3)
    for i in range(3):
        errors = []
        for p, t in zip(guess[i].numpy(), 5 * tiles[i].numpy() + 3, strict=True):
            errors.append(np.mean((p - (t - t.mean()) / np.sqrt(t.var(ddof=1) + 1e-6)) ** 2))
        assert float(found[i]) == pytest.approx(np.mean(errors), rel=1e-5)


def test_a_flat_patch_wants_zeros_and_has_a_gradient() -> None:
    guess = torch.ones(1, 1, 4, requires_grad=True)
    error = pixel_error(guess, torch.full((1, 1, 4), 0.3))
    error.sum().backward()
    assert float(error.detach()) == pytest.approx(1.0)
    assert guess.grad is not None and guess.grad.isfinite().all()
