"""A teacher's outputs: computed once, mapped from disk, keyed by what makes them, and the same as without."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from limbeck.cli.app import app
from limbeck.data.batches import Batches, InputReader
from limbeck.encoders.cache import BackboneCache, Block
from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.errors import LimbeckError
from limbeck.training import fit, train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from raising import raises_code
from tiny import pixel_recipe, write_pairs

POLAR = {"kind": "polar", "dim": 8}


@pytest.fixture(scope="session")
def pictures(place: Path) -> Path:
    (place / "pictures").mkdir()
    return write_pairs(place / "pictures", rows=60, pictures=16)


@pytest.fixture(scope="session")
def teacher(place: Path, pictures: Path, retrieval: Path) -> Path:
    tree = pixel_recipe(pictures, retrieval, {"name": "meru"}, POLAR, steps=2)
    return train(tree, out=place / "teacher", quiet=True)


def student(pictures: Path, retrieval: Path, teacher: Path, **options: Any) -> dict[str, Any]:
    method = {"name": "hmid-net", "teacher": str(teacher), "decoder_width": 32, "target": "teacher"}
    return pixel_recipe(pictures, retrieval, method, POLAR, **options)


def sources(tree: dict[str, Any], cache: BackboneCache | None) -> tuple[Any, dict[str, InputReader]]:
    resolved = load_recipe(tree)
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    readers = input_readers(method, data.train, cache)
    return method, {name: reader for name, reader in readers.items() if reader.spec.teacher is not None}


def stamps(folder: Path) -> dict[str, int]:
    return {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}


# ------------------------------------------------------------------------------ training with and without
def test_training_with_the_cache_is_training_without_it(
    tmp_path: Path, pictures: Path, retrieval: Path, teacher: Path
) -> None:
    """To the last bit, as far as the teacher's outputs are.

    A matrix product may round a row differently when other rows stand beside it: for 5 tokens a picture some
    libraries do, from 10 tokens on none that was tried. Where it happens, outputs agree to 2e-6 and training
    to what grows from that.
    """
    tree = student(pictures, retrieval, teacher)
    folder = tmp_path / "limbeck-cache"
    runs = [train(tree | {"cache": True}, out=tmp_path / "first", quiet=True)]
    written = stamps(folder)
    assert len(written) == 3  # pictures, captions, patches; nothing of what is held out
    runs.append(train(tree | {"cache": True}, out=tmp_path / "second", quiet=True))
    assert stamps(folder) == written
    runs.append(train(tree | {"cache": False}, out=tmp_path / "without", quiet=True))
    assert stamps(folder) == written
    first, second, without = (load_tensors(run / "model/model.safetensors") for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)

    method, stored = sources(tree, BackboneCache())
    _, computed = sources(tree, None)
    view, exact = stored["teacher_text"].view, True
    for step in range(tree["schedule"]["steps"]):
        one, other = (Batches(view, s, batch_size=16, seed=0).at(step) for s in (stored, computed))
        for name in stored:
            read, wanted = method.teacher_output(name, one), method.teacher_output(name, other)
            torch.testing.assert_close(read, wanted, rtol=0, atol=2e-6)
            exact &= torch.equal(read, wanted)
    for name, wanted in first.items():
        if exact:
            assert torch.equal(without[name], wanted), name
        else:
            # not k_proj.bias: no loss depends on it, and Adam makes steps of its rounding
            loose = 0.1 if name.endswith("k_proj.bias") else 1e-3
            torch.testing.assert_close(without[name], wanted, rtol=loose, atol=loose, msg=name)


def test_frozen_backbones_run_in_float32_like_their_cache(
    pictures: Path, retrieval: Path, teacher: Path
) -> None:
    tree = pixel_recipe(pictures, retrieval, {"name": "meru"}, POLAR)
    for tower in tree["towers"].values():
        tower["backbone"] = {"kind": "run", "path": str(teacher), "output": "features"}
        tower["freeze_backbone"] = True
    resolved = load_recipe(tree)
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    rows = {n: s.inputs(np.arange(16)) for n, s in input_readers(method, data.train).items()}
    for name, inputs in rows.items():
        tower = method.encoder.towers[name]
        plain = tower(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(tower(inputs), plain)
        tower.backbone.requires_grad_(True)
        with torch.autocast("cpu", torch.bfloat16):
            assert not torch.equal(tower(inputs), plain)


def test_training_does_not_go_on_with_another_teacher(
    tmp_path: Path, pictures: Path, retrieval: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "teacher"
    shutil.copytree(teacher, place)
    tree = student(pictures, retrieval, place)
    original, calls = fit.forward_backward, []

    def stop_at_two(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "forward_backward", stop_at_two)
        with pytest.raises(fit.Interrupted):
            train(tree, out=tmp_path / "run", quiet=True)
    weights = place / "model/model.safetensors"
    whole, tensors = weights.read_bytes(), load_tensors(weights)
    tensors["lift.heads.text.radius.bias"] = tensors["lift.heads.text.radius.bias"] + 1e-3
    save_tensors(weights, tensors)
    with raises_code("E-RUN-OTHER-SETTINGS", "state-00000002:"):
        train(tree, out=tmp_path / "run", resume=True, quiet=True)
    weights.write_bytes(whole)
    assert train(tree, out=tmp_path / "run", resume=True, quiet=True).is_dir()


# ------------------------------------------------------------------------------ the key
def test_stored_outputs_are_mapped_read_only(pictures: Path, retrieval: Path, teacher: Path) -> None:
    method, found = sources(student(pictures, retrieval, teacher), BackboneCache())
    shapes = {"teacher_image": (8,), "teacher_text": (8,), "teacher_patches": (16, 8)}
    for name, shape in shapes.items():
        stored = found[name].stored
        assert isinstance(stored, np.memmap)
        assert (stored.shape[1:], stored.dtype, stored.flags.writeable) == (shape, np.float32, False)
    tensor = found["teacher_patches"].inputs(np.array([3, 1])).backbone_output
    np.testing.assert_array_equal(tensor, found["teacher_patches"].stored[[3, 1]])  # type: ignore[index]
    tensor.zero_()  # a copy: nothing is written to the file
    assert method.teachers.keys() == shapes.keys()


def test_the_key_is_of_teacher_transform_and_items(
    tmp_path: Path, pictures: Path, retrieval: Path, teacher: Path
) -> None:
    folder = tmp_path / "cache"

    def count(change: Any = None, tree: dict[str, Any] | None = None) -> int:
        """Files of the image side after one more reading by a teacher that was changed so."""
        method, found = sources(tree or student(pictures, retrieval, teacher), None)
        reader = method.teachers["teacher_image"]
        if change is not None:
            with torch.no_grad():
                change(reader)
        source = found["teacher_image"]
        InputReader(source.view, source.spec, reader, BackboneCache(folder))
        return len(list(folder.glob("*.npy")))

    assert count() == 1
    assert count() == 1
    assert count(lambda r: r.lift.log_curv.add_(0.1)) == 2
    assert count(lambda r: r.tower.backbone.model.embeddings.class_embedding.add_(0.1)) == 3
    assert count(lambda r: r.lift.heads["image"].radius.bias.add_(0.1)) == 4
    assert count(lambda r: setattr(r.tower.backbone, "mean", (0.5, 0.5, 0.5))) == 5
    assert count(lambda r: setattr(r, "output", "embeddings")) == 6
    elsewhere = tmp_path / "moved"
    elsewhere.symlink_to(teacher)
    assert count(tree=student(pictures, retrieval, elsewhere)) == 6  # where the run lies does not matter
    other = write_pairs(tmp_path, rows=40, seed=1, pictures=16)
    assert count(tree=student(other, retrieval, teacher)) == 7


def test_another_size_of_picture_is_another_key(
    tmp_path: Path, place: Path, pictures: Path, retrieval: Path, teacher: Path
) -> None:
    tree = pixel_recipe(pictures, retrieval, {"name": "meru"}, POLAR, patch_size=8, steps=2)
    tree["towers"]["image"]["backbone"]["image_size"] = 24  # another transform
    finer = train(tree, out=tmp_path / "finer", quiet=True)
    folder = tmp_path / "cache"
    for path in (teacher, finer):
        _, found = sources(student(pictures, retrieval, path), BackboneCache(folder))
    assert len(list(folder.glob("*.npy"))) == 6
    assert found["teacher_patches"].stored.shape[1:] == (9, 8)  # type: ignore[union-attr]


# ------------------------------------------------------------------------------ the file
class Named(torch.nn.Module):
    """As much of a backbone as the cache asks for."""

    dim = 5

    def __init__(self, key: str = "a") -> None:
        super().__init__()
        self.key = key

    def cache_key(self) -> str:
        return self.key

    def digest(self) -> str:
        return "weights"


def shuffled(rows: np.ndarray, size: int, order: np.ndarray) -> Iterator[Block]:
    for start in range(0, len(rows), size):
        yield order[start : start + size], rows[order[start : start + size]]


def outputs(cache: BackboneCache, count: int, blocks: Any, key: str = "a") -> np.ndarray:
    named: Any = Named(key)
    return cache.outputs(named, "items", count, blocks)


@pytest.mark.parametrize("shape", [(7, 5), (30, 3, 4), (1, 2)])
def test_blocks_in_any_order_make_the_array(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal(shape).astype(np.float32)
    cache = BackboneCache(tmp_path / "cache")
    for number, order in enumerate((np.arange(len(rows)), rng.permutation(len(rows)))):
        found = outputs(cache, len(rows), lambda order=order: shuffled(rows, 4, order), str(number))
        np.testing.assert_array_equal(found, rows)
        assert isinstance(found, np.memmap)
    assert outputs(cache, len(rows), lambda: pytest.fail("computed again"), "0").shape == shape


def test_nothing_to_compute_is_an_empty_array(tmp_path: Path) -> None:
    assert outputs(BackboneCache(tmp_path), 0, lambda: iter(())).shape == (0, 5)


def test_the_memory_of_one_block_is_enough(tmp_path: Path) -> None:
    block = np.ones((64, 256, 16), np.float32)  # 1 MiB, of 48

    def blocks() -> Iterator[Block]:
        for start in range(0, 48 * 64, 64):
            yield np.arange(start, start + 64), block + start

    tracemalloc.start()
    found = outputs(BackboneCache(tmp_path), 48 * 64, blocks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20
    assert (found[-1] == 47 * 64 + 1).all()
    assert found.nbytes == 48 * 2**20


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
def test_interrupted_leaves_nothing_and_can_be_repeated(tmp_path: Path, stop: BaseException) -> None:
    cache, rows = BackboneCache(tmp_path / "cache"), np.ones((8, 2), np.float32)

    def broken() -> Iterator[Block]:
        yield np.arange(4), rows[:4]
        raise stop

    wanted = KeyboardInterrupt if isinstance(stop, KeyboardInterrupt) else LimbeckError
    with pytest.raises(wanted, match=None if wanted is KeyboardInterrupt else "No space left"):
        outputs(cache, 8, broken)
    assert not list(cache.folder.iterdir())
    np.testing.assert_array_equal(outputs(cache, 8, lambda: shuffled(rows, 3, np.arange(8))), rows)


def test_missing_rows_are_no_cache(tmp_path: Path) -> None:
    rows = np.ones((8, 2), np.float32)
    with raises_code("E-BUG", "8 items"):
        outputs(BackboneCache(tmp_path), 8, lambda: shuffled(rows[:6], 3, np.arange(6)))
    assert not list(tmp_path.iterdir())


def test_what_killed_writers_left_goes_after_a_day(tmp_path: Path) -> None:
    old, new, other = (f".{16 * pair}.npy.{4 * pair}.tmp" for pair in ("0a", "1b", "2c"))
    for name, age in ((old, 90_000), (new, 60), (other.replace("npy", "txt"), 90_000)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    rows = np.ones((2, 2), np.float32)
    outputs(BackboneCache(tmp_path), 2, lambda: shuffled(rows, 1, np.arange(2)))
    assert {f.name for f in tmp_path.glob(".*")} == {new, other.replace("npy", "txt")}


def test_what_nobody_reads_can_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    cache, rows = BackboneCache(), np.ones((8, 5), np.float32)
    for key in "abc":
        outputs(cache, 8, lambda: shuffled(rows, 8, np.arange(8)), key)
    texts = tmp_path / f"texts-{8 * '0f1e'}-raw"
    texts.mkdir()
    (texts / f"{4 * '0f1e'}.npz").write_bytes(b"x")
    (tmp_path / "not ours.txt").write_text("stays")
    for file in cache.kept():
        os.utime(file, (time.time() - 10 * 86_400,) * 2)
    held = outputs(cache, 8, lambda: pytest.fail("computed again"), "a")  # read today
    assert len(cache.kept()) == 4
    assert len(cache.kept(7)) == 3
    assert cache.kept(11) == {}
    assert list(cache.kept(7).values()) == [held.offset + held.nbytes] * 2 + [1]
    said = CliRunner().invoke(app, ["cache", "--prune", "7"]).stdout.splitlines()
    assert said[0] == "removed 3 files, 0.00 GB"
    assert said[1].endswith("1 files, 0.00 GB in total")
    assert CliRunner().invoke(app, ["cache", "--prune", "0"]).exit_code == 0
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["not ours.txt"]
    np.testing.assert_array_equal(held, rows)  # what is open stays readable
    outputs(cache, 8, lambda: shuffled(rows, 8, np.arange(8)), "a")
    assert len(cache.kept()) == 1


@pytest.mark.parametrize("quiet", [False, True])
def test_long_work_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    clock = iter(range(0, 10_000, 8))
    monkeypatch.setattr("limbeck.encoders.cache.time.monotonic", lambda: next(clock))
    rows = np.ones((40, 2), np.float32)
    outputs(BackboneCache(tmp_path, quiet=quiet), 40, lambda: shuffled(rows, 10, np.arange(40)))
    said = capsys.readouterr().err.splitlines()
    assert said[:1] == ([] if quiet else ["cache: 20/40 outputs of a frozen tower  1 items/s  16 s left"])
    assert len(said) == (0 if quiet else 2)
