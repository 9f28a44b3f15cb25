"""Outputs of many items are kept in several files, which processes share and a stop keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from limbeck.encoders import cache as module
from limbeck.encoders.cache import BackboneCache, Parts
from limbeck.encoders.config import FeaturesConfig
from limbeck.encoders.encode import Block
from limbeck.encoders.features import FeatureBackbone

ROWS = np.random.default_rng(0).random((21, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 8)


@pytest.fixture
def backbone() -> FeatureBackbone:
    return FeatureBackbone(FeaturesConfig(name="f"), input_dim=3)


class Computed:
    """Computes the rows in blocks of 4, and notes which; ``stop_at`` is a start that fails."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.starts: list[int] = []
        self.stop_at = stop_at

    def __call__(self, start: int, stop: int) -> Iterator[Block]:
        self.starts.append(start)
        if start == self.stop_at:
            raise KeyboardInterrupt
        for at in range(start, stop, 4):
            block = np.arange(at, min(at + 4, stop))
            yield block - start, ROWS[block]


def test_parts_read_like_one_array(tmp_path: Path, backbone: FeatureBackbone) -> None:
    found = BackboneCache(tmp_path).parts(backbone, "key", len(ROWS), Computed())
    assert isinstance(found, Parts)
    assert (len(found), found.shape) == (21, (21, 3))
    for positions in ([20, 0, 8, 7, 8], [], list(range(21))):
        assert np.array_equal(found[positions], ROWS[np.array(positions, int)])
    few = BackboneCache(tmp_path).parts(backbone, "few", 8, Computed())
    assert np.array_equal(few, ROWS[:8])
    assert len(list(tmp_path.glob("*.npy"))) == 3 + 1


def test_a_stop_keeps_the_finished_files(tmp_path: Path, backbone: FeatureBackbone) -> None:
    with pytest.raises(KeyboardInterrupt):
        BackboneCache(tmp_path).parts(backbone, "key", len(ROWS), Computed(stop_at=16))
    again = Computed()
    found = BackboneCache(tmp_path).parts(backbone, "key", len(ROWS), again)
    assert again.starts == [16]
    assert np.array_equal(found[np.arange(21)], ROWS)


@pytest.mark.parametrize("common_disk", [True, False])
def test_processes_share_the_work(tmp_path: Path, backbone: FeatureBackbone, common_disk: bool) -> None:
    barrier, computed = threading.Barrier(2), [Computed(), Computed()]

    def process(rank: int) -> np.ndarray:
        folder = tmp_path if common_disk else tmp_path / str(rank)
        cache = BackboneCache(folder, rank=rank, world=2, barrier=partial(barrier.wait, 30))
        return cache.parts(backbone, "key", len(ROWS), computed[rank])[np.arange(21)]

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(process, range(2)):
            assert np.array_equal(found, ROWS)
    starts = [own.starts for own in computed]
    assert starts == ([[0, 16], [8]] if common_disk else [[0, 16, 8], [8, 0, 16]])
