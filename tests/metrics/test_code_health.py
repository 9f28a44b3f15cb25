"""Statistics of the bits of a code set."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from limbeck.codes import pack_bits, unpack_bits
from limbeck.metrics import code_health
from raising import raises_code


@pytest.mark.parametrize("count", [50, 70_000])
def test_against_numpy(count):
    """Few codes, and more than are unpacked at once."""
    codes = np.random.default_rng(0).integers(0, 256, (count, 2), dtype=np.uint8)
    codes[10:20] = codes[0]
    signs = unpack_bits(codes).astype(float)
    health = code_health(codes)
    np.testing.assert_allclose(health.balance, (signs > 0).mean(axis=0))
    np.testing.assert_allclose(health.correlation, np.corrcoef(signs.T), atol=1e-12)
    p = health.balance
    np.testing.assert_allclose(health.entropy, -(p * np.log2(p) + (1 - p) * np.log2(1 - p)))
    between = np.abs(np.corrcoef(signs.T))[~np.eye(16, dtype=bool)]
    assert health.mean_correlation == pytest.approx(between.mean())
    assert health.max_correlation == pytest.approx(between.max())
    times = Counter(map(bytes, codes))
    assert health.unique_share == len(times) / count
    assert health.collision_share == sum(n for n in times.values() if n > 1) / count
    assert health.constant_bits == 0


def test_constant_and_repeated_bits():
    rng = np.random.default_rng(1)
    signs = np.where(rng.random((200, 8)) < 0.5, -1, 1)
    signs[:, 0], signs[:, 2] = 1, -signs[:, 1]
    health = code_health(pack_bits(signs))
    assert health.constant_bits == 1 and health.entropy[0] == 0 and not health.correlation[0].any()
    assert health.correlation[1, 2] == pytest.approx(-1) and health.max_correlation == pytest.approx(1)


def test_one_code():
    health = code_health(np.zeros((1, 1), np.uint8))
    assert health.unique_share == 1 and health.collision_share == 0 and health.constant_bits == 8


def test_no_codes():
    with raises_code("E-ARRAY-EMPTY", "none"):
        code_health(np.zeros((0, 4), np.uint8))
