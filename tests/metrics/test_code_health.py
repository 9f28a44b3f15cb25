"""Statistics of the bits of a code set."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from limbeck.codes import pack_bits, unpack_bits
from limbeck.errors import LimbeckError
from limbeck.metrics import code_health


@pytest.mark.parametrize("chunk", [7, 1 << 16])
def test_against_numpy(chunk, monkeypatch):
    monkeypatch.setattr(sys.modules["limbeck.metrics.code_health"], "_CHUNK", chunk)
    codes = np.random.default_rng(0).integers(0, 256, (50, 2), dtype=np.uint8)
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
    rows = [tuple(code) for code in codes]
    assert health.unique_share == len(set(rows)) / 50
    assert health.collision_share == sum(rows.count(row) > 1 for row in rows) / 50
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
    with pytest.raises(LimbeckError, match="none to measure"):
        code_health(np.zeros((0, 4), np.uint8))
