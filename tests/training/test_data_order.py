"""The order of the pairs: each once an epoch, and the same for any processes, threads and restarts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limbeck.data.batches import Batches, InputReader
from limbeck.data.importers import ShardOptions, import_shards
from limbeck.data.inputs import Input
from limbeck.data.order import Order
from limbeck.data.pairs import Pairs
from limbeck.data.subset import Subset
from limbeck.data.windows import check_window
from limbeck.encoders.config import AugmentConfig, ClipImageConfig
from limbeck.encoders.image import ClipImageBackbone
from limbeck.pictures import shards
from raising import raises_code
from shards_made import write_parquet, write_shards

CROPS = ClipImageConfig(
    image_size=16, patch_size=8, width=8, layers=1, heads=2, augment=AugmentConfig(flip=True)
)


def stream(order: Order, steps: int) -> np.ndarray:
    return np.concatenate([order.batch(step)[0] for step in range(steps)])


def test_the_order_without_options_is_that_of_recorded_runs() -> None:
    order = Order(50, 8, seed=3)
    assert (order.steps_per_epoch, order.steps(2.5), order.epoch(6)) == (6, 15, 1)
    for step in range(13):
        whole = np.random.default_rng([3, step // 6]).permutation(50)
        assert np.array_equal(order.batch(step)[0], whole[(step % 6) * 8 :][:8])


@pytest.mark.parametrize("window", [None, 16, 100])
@pytest.mark.parametrize(("count", "batch"), [(50, 8), (48, 8), (31, 10), (64, 3)])
def test_carry_shows_every_pair_once_an_epoch_and_none_twice_a_batch(
    count: int, batch: int, window: int | None
) -> None:
    order = Order(count, batch, seed=1, remainder="carry", window=window)
    steps = order.steps(7)
    assert steps == -(-7 * count // batch)
    seen = stream(order, steps)
    for epoch in range(7):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))
    for step in range(steps):
        positions, epochs = order.batch(step)
        assert len(set(positions.tolist())) == batch
        assert epochs.tolist() == [(step * batch + at) // count for at in range(batch)]
    # Any step alone, on a new object, as after a resume.
    late = Order(count, batch, seed=1, remainder="carry", window=window)
    assert np.array_equal(late.batch(steps - 2)[0], order.batch(steps - 2)[0])
    assert not np.array_equal(seen[:count], seen[count : 2 * count])


def test_carry_needs_three_batches_an_epoch() -> None:
    with raises_code("E-CONFIG-VALUE", "schedule.remainder", "2.5"):
        Order(20, 8, seed=0, remainder="carry")
    assert Order(16, 8, seed=0, remainder="carry").steps(3) == 6


def test_a_window_keeps_neighbours_near_and_still_mixes() -> None:
    order = Order(4000, 40, seed=0, window=160)
    first = stream(order, 100)
    assert sorted(first) == list(range(4000))
    # 9 blocks of 20 are open at most, wherever a batch begins.
    for start in range(0, 4000, 40):
        blocks = set((first[start : start + 40] // 20).tolist())
        assert 2 < len(blocks) <= (160 + 40) // 20 + 2
    last_seen = {int(block): at for at, block in enumerate(first // 20)}
    first_seen = {int(block): at for at, block in reversed(list(enumerate(first // 20)))}
    assert max(last_seen[b] - first_seen[b] for b in last_seen) <= 160 + 2 * 20
    assert Counter(np.sign(b - a) for a, b in pairwise(first.tolist()))[1] < 2400  # not in the table's order


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Subset:
    folder = tmp_path_factory.mktemp("order")
    write_shards(folder / "shards", shards=5, each=5)
    import_shards(folder / "shards", folder / "pairs", ShardOptions())
    pairs = Pairs.open(folder / "pairs")
    return Subset(pairs, np.arange(len(pairs)), pairs.captions)


def batches(view: Subset, backbone: ClipImageBackbone, **more: Any) -> Batches:
    source = InputReader(view, Input("image", "image"), backbone, None)
    return Batches(view, {"image": source}, batch_size=6, seed=2, remainder="carry", **more)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shards_give_the_same_samples_to_any_processes_threads_and_restarts(view: Subset, world: int) -> None:
    backbone = ClipImageBackbone(CROPS)
    alone = batches(view, backbone)
    steps = alone.steps(3)
    expected = [alone.at(step) for step in range(steps)]
    ids: list[list[str]] = [[] for _ in range(steps)]
    pixels: list[list[torch.Tensor]] = [[] for _ in range(steps)]
    stop = 5  # each process ends here and a new one goes on
    for rank in range(world):
        for begin, end, workers in ((0, stop, 1), (stop, steps, 3)):
            share = batches(view, backbone, rank=rank, world=world, workers=workers)
            for step, batch in enumerate(share.iterate(begin, end), start=begin):
                assert len(batch) == 6 // world
                ids[step] += batch.ids
                pixels[step].append(batch.inputs["image"]["pixels"])  # type: ignore[index]
            assert share.waited > 0
    for step in range(steps):
        assert ids[step] == expected[step].ids
        assert torch.equal(torch.cat(pixels[step]), expected[step].inputs["image"]["pixels"])  # type: ignore[index]
    seen = [one for own in ids for one in own]
    for epoch in range(3):
        assert sorted(seen[epoch * 25 : (epoch + 1) * 25]) == view.pairs.ids


def test_a_picture_is_opened_once_for_all_that_read_it(view: Subset, monkeypatch: pytest.MonkeyPatch) -> None:
    student, other = (ClipImageBackbone(CROPS) for _ in range(2))
    teacher, large = (
        ClipImageBackbone(CROPS.model_copy(update={"image_size": size, "augment": None})) for size in (16, 24)
    )
    spec = Input("image", "image")
    towers = {"student": student, "other": other, "teacher": teacher, "large": large}
    readers = {name: InputReader(view, spec, tower, None) for name, tower in towers.items()}
    opened: list[tuple[int, int]] = []
    open_image = Pairs.open_image

    def counted(pairs: Pairs, row: int, size: int) -> Any:
        opened.append((row, size))
        return open_image(pairs, row, size)

    monkeypatch.setattr(Pairs, "open_image", counted)
    several = Batches(view, readers, batch_size=6, seed=2, workers=2)
    (batch,) = several.iterate(0, 1)
    assert sorted(opened) == sorted((int(row), size) for row in batch.rows for size in (16, 24))
    for name, reader in readers.items():
        alone = Batches(view, {name: reader}, batch_size=6, seed=2).at(0)
        assert torch.equal(batch.inputs[name]["pixels"], alone.inputs[name]["pixels"])  # type: ignore[index]


def test_a_batch_that_processes_cannot_share_is_refused(view: Subset) -> None:
    with raises_code("E-CONFIG-VALUE", "schedule.batch_size", "set 6 or 9"):
        Batches(view, {}, batch_size=8, seed=0, world=3)
    assert Batches(view, {}, batch_size=99, seed=0, world=3).batch_size == 24


def test_stopping_early_leaves_no_thread_waiting(view: Subset) -> None:
    coming = batches(view, ClipImageBackbone(CROPS), workers=2).iterate(0, 12)
    assert len(next(coming)) == 6
    coming.close()


def test_parquet_needs_a_window_that_fits_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: Subset
) -> None:
    write_parquet(tmp_path / "hf" / "0.parquet", range(12))
    import_shards(tmp_path / "hf", tmp_path / "pairs", ShardOptions())
    pairs, rows = Pairs.open(tmp_path / "pairs"), np.arange(12)
    check_window(pairs, rows, None, 2)
    monkeypatch.setattr(shards, "GROUP_BYTES", 10_000)
    with raises_code("E-CONFIG-VALUE", "data.window", "smaller row groups"):
        check_window(pairs, rows, None, 2)
    monkeypatch.setattr(shards.ParquetPictures, "group_bytes", 100)
    monkeypatch.setattr(shards, "GROUP_BYTES", (tmp_path / "hf" / "0.parquet").stat().st_size - 1)
    with raises_code("E-CONFIG-VALUE", "data.window to at most"):
        check_window(pairs, rows, None, 1)
    check_window(pairs, rows, 2, 1)
    check_window(view.pairs, view.rows, None, 2)  # tar files have no such limit
