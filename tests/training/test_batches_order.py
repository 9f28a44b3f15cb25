"""What is drawn for a row depends on seed, epoch and id alone; frozen backbones are computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gloo_worker import method_and_batch

from limbeck.data.batches import Batches, InputReader, draw
from limbeck.data.inputs import Input
from limbeck.data.pairs import Pairs
from limbeck.data.subset import Subset
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.config import AugmentConfig, BagConfig, ClipImageConfig, FeaturesConfig
from limbeck.encoders.features import BagBackbone, FeatureBackbone
from limbeck.encoders.image import ClipImageBackbone
from limbeck.files import read_json
from limbeck.training import train
from raising import raises_code
from tiny import soda_recipe, write_pairs

TINY_IMAGE = ClipImageConfig(
    image_size=16, patch_size=8, width=8, layers=1, heads=2, augment=AugmentConfig(flip=True)
)


class Recorder(BagBackbone):
    """A bag of words that keeps what it was asked to read."""

    seen: list[list[str]]
    bag = None  # else the words of all texts are read before the first batch

    def collate(self, items: Any, generators: Any = None) -> dict[str, torch.Tensor]:
        self.seen.append(list(items))
        return super().collate(items)


def captions_shown(view: Subset, *, seed: int, batch_size: int, steps: range) -> dict[tuple[int, str], str]:
    """Caption by (epoch, id)."""
    backbone = Recorder(BagConfig())
    backbone.seen = []
    backbone.fit([t for own in view.texts for t in own], seed=0)
    batches = Batches(
        view,
        {"text": InputReader(view, Input("text", "text"), backbone, None)},
        batch_size=batch_size,
        seed=seed,
    )
    shown = {}
    for step in steps:
        ids = batches.at(step).ids
        shown |= {(batches.epoch(step), i): text for i, text in zip(ids, backbone.seen[-1], strict=True)}
    return shown


@pytest.fixture(scope="session")
def view(pairs_dir: Path) -> Subset:
    pairs = Pairs.open(pairs_dir)
    rows = pairs.split_rows("train")
    return Subset(pairs, rows, [pairs.captions[r] for r in rows.tolist()], labelled=True)


def test_draws_are_of_seed_epoch_and_id_alone() -> None:
    assert draw(0, 1, "a") == draw(0, 1, "a")
    assert len({draw(s, e, i) for s in range(3) for e in range(3) for i in "abc"}) == 27
    assert all(0 <= draw(0, e, "x") < 2**63 for e in range(50))


def test_captions_do_not_depend_on_batch_size_or_start(view: Subset) -> None:
    whole = captions_shown(view, seed=3, batch_size=16, steps=range(9))
    late = captions_shown(view, seed=3, batch_size=16, steps=range(5, 9))
    other = captions_shown(view, seed=3, batch_size=8, steps=range(18))
    assert late.items() <= whole.items()
    both = whole.keys() & other.keys()
    assert len(both) > 100
    assert {k: whole[k] for k in both} == {k: other[k] for k in both}
    assert captions_shown(view, seed=4, batch_size=16, steps=range(9)) != whole
    epochs = {i: {whole[(e, i)] for e in range(3) if (e, i) in whole} for _, i in whole}
    assert any(len(texts) > 1 for texts in epochs.values())


def test_ranks_share_the_batch_in_order(view: Subset) -> None:
    whole = Batches(view, {}, batch_size=16, seed=1)
    halves = [Batches(view, {}, batch_size=16, seed=1, rank=r, world=2) for r in range(2)]
    for step in (0, 3, 7):
        assert [i for half in halves for i in half.at(step).ids] == whole.at(step).ids


def test_every_pair_comes_once_an_epoch(view: Subset) -> None:
    batches = Batches(view, {}, batch_size=16, seed=1)
    first = [i for batch in batches.iterate(0, batches.steps_per_epoch) for i in batch.ids]
    assert len(set(first)) == len(first) == batches.steps_per_epoch * 16
    small = Batches(view, {}, batch_size=10_000, seed=1)
    assert small.batch_size == len(view)
    assert sorted(small.at(0).ids) == sorted(view.ids)


def test_no_pairs_is_one_line(view: Subset) -> None:
    with raises_code("E-TRAIN-EMPTY", "training:"):
        Batches(Subset(view.pairs, np.zeros(0, int), []), {}, batch_size=4, seed=0)


def scenes_view(folder: Path, *, size: int = 32) -> Subset:
    generate_scenes(folder, n=24, seed=1, size=size)
    pairs = Pairs.open(folder)
    return Subset(pairs, np.arange(24), pairs.captions)


def test_crops_are_of_seed_epoch_and_id_and_off_for_frozen_towers(tmp_path: Path) -> None:
    view = scenes_view(tmp_path / "scenes")
    backbone = ClipImageBackbone(TINY_IMAGE)
    source = InputReader(view, Input("image", "image"), backbone, None)
    alone = source.inputs(np.array([5]), [draw(0, 0, view.ids[5])])["pixels"]
    among = source.inputs(np.array([2, 5, 9]), [draw(0, 0, view.ids[i]) for i in (2, 5, 9)])["pixels"]
    assert torch.equal(alone[0], among[1])
    assert not torch.equal(alone, source.inputs(np.array([5]), [draw(0, 1, view.ids[5])])["pixels"])
    plain = source.inputs(np.array([5]))["pixels"]
    assert not torch.equal(alone, plain)
    frozen = InputReader(view, Input("image", "image"), backbone.requires_grad_(False), None)
    assert torch.equal(frozen.inputs(np.array([5]), [draw(0, 0, view.ids[5])])["pixels"], plain)


def test_cached_pictures_follow_the_pictures(tmp_path: Path) -> None:
    """Same table, other pictures: the stored outputs of the first must not be taken for the second."""
    torch.manual_seed(0)
    backbone = ClipImageBackbone(TINY_IMAGE).requires_grad_(False)
    cache, spec = BackboneCache(), Input("image", "image")
    found = []
    for size in (32, 64):
        stored = InputReader(scenes_view(tmp_path / str(size), size=size), spec, backbone, cache).stored
        assert stored is not None
        found.append(np.array(stored))
    assert len(list(cache.folder.glob("*.npy"))) == 2
    assert not np.array_equal(found[0], found[1])


def test_the_cached_run_equals_the_run_without_cache(
    tmp_path: Path, recipe: dict[str, Any], whole_run: Path
) -> None:
    """Heads on the frozen towers of a run: outputs stored, or computed at every step."""
    for tower in recipe["towers"].values():
        tower["backbone"] = {"kind": "run", "path": str(whole_run), "output": "features"}
        tower["freeze_backbone"] = True
    runs = [train(recipe | {"cache": c}, out=tmp_path / str(c), quiet=True) for c in (True, False)]
    assert list((tmp_path / "limbeck-cache").glob("*.npy"))
    scores = [read_json(r / "stages/student/done.json")["best_score"] for r in runs]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
    from limbeck.encoders.tensors import load_tensors

    one, other = (load_tensors(r / "model/model.safetensors") for r in runs)
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-4, msg=name)


def test_labels_of_a_batch_belong_to_its_ids(recipe: dict[str, Any]) -> None:
    _, batch = method_and_batch(recipe)
    pairs = Pairs.open(recipe["data"]["pairs"])
    assert np.array_equal(batch.labels.numpy() > 0, pairs.labels(pairs.rows(batch.ids)))


def test_a_batch_smaller_than_the_processes_is_one_line(tmp_path: Path, hashing: Path) -> None:
    pairs = Pairs.open(write_pairs(tmp_path, rows=20))
    view = Subset(pairs, np.arange(4), [["a"]] * 4)
    with raises_code("E-CONFIG-VALUE", "8 processes"):
        Batches(view, {}, batch_size=4, seed=0, world=8)
    assert soda_recipe(tmp_path, hashing)


def test_projected_features_are_kept_unless_they_are_very_many(
    view: Subset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Input("image", "image")
    name = next(iter(view.pairs.feature_files))
    backbone = FeatureBackbone(FeaturesConfig(name=name, log1p=False, pca=4))
    backbone.fit(view.fit_items(spec, backbone.reads), seed=0)
    rows, cache = np.arange(5), BackboneCache(tmp_path, quiet=True)
    kept = InputReader(view, spec, backbone, cache)
    assert kept.stored is not None and len(list(tmp_path.glob("*.npy"))) == 1
    monkeypatch.setattr("limbeck.data.batches.PROJECTED_BYTES", len(view) * 4 * 4 - 1)
    raw = InputReader(view, spec, backbone, cache)
    assert raw.stored is None
    torch.testing.assert_close(kept.inputs(rows).backbone_output, backbone(raw.inputs(rows)))
