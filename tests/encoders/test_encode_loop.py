"""The one loop that runs models: modes, devices, blocks, threads, and equal rows on every way through it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.encode import blocks_of, collated, encode, even_blocks, inference, output_blocks
from limbeck.encoders.inputs import Cached, Sets, named_tensors, raw
from limbeck.encoders.masking import unmasked
from limbeck.preprocess import Reads
from limbeck.preprocess.text import join_parts, split_parts
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures

N = 11


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loop")
    write_pictures(folder, range(N))
    return [folder / f"{i:04}.png" for i in range(N)]


def test_blocks_cover_every_position_once() -> None:
    assert [block.tolist() for block in blocks_of(5, 2)] == [[0, 1], [2, 3], [4]]
    assert [block.tolist() for block in even_blocks(np.arange(5)[::-1], 3)] == [[4, 3, 2], [1, 0]]
    assert blocks_of(0, 2) == [] == even_blocks(np.arange(0), 2)


def test_eval_mode_and_no_gradients_inside_and_every_module_as_before_outside() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    model[1].eval()
    seen: list[tuple[bool, bool]] = []

    def compute(inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        seen.append((model[0].training, torch.is_grad_enabled()))
        return [model(inputs["x"]), inputs["x"].double()]

    for key, (rows, doubled) in encode(model, compute, [("a", {"x": torch.ones(3, 2)})]):
        assert key == "a" and rows.shape == (3, 2) and rows.dtype == doubled.dtype == np.float32
        assert [module.training for module in model.modules()] == [True, True, False]
        assert torch.is_grad_enabled()
    assert seen == [(False, False)]
    with pytest.raises(ZeroDivisionError), inference(model):
        raise ZeroDivisionError
    assert model.training and not model[1].training


def test_an_empty_batch_runs_nothing() -> None:
    model = nn.Linear(2, 2)
    assert list(encode(model, lambda inputs: [model(inputs["x"])], [(7, {})])) == [(7, [])]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_threads_give_the_batches_of_one_collate(files: list[Path], size: int) -> None:
    backbone = pixel_encoder().towers["image"].backbone
    blocks = even_blocks(np.arange(N)[::-1], size)
    opened = [Image.open(file).convert("RGB") for file in files]
    for items in (files, opened):
        for block, inputs in collated(backbone, items, blocks):
            wanted = backbone.collate([opened[i] for i in block.tolist()])["pixels"]
            torch.testing.assert_close(inputs["pixels"], wanted, rtol=0, atol=0)
    assert not list(collated(backbone, [], []))


def test_a_loop_that_stops_leaves_no_thread(files: list[Path], tmp_path: Path) -> None:
    backbone = pixel_encoder().towers["image"].backbone
    batches = collated(backbone, files, blocks_of(N, 2))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    batches = collated(backbone, [*files[:3], tmp_path / "broken.png"], blocks_of(4, 2))
    next(batches)
    with raises_code("E-PICTURE-READ", "broken.png"):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_texts_of_similar_length_share_a_block_and_come_back_by_position() -> None:
    model = pixel_encoder()
    texts = ["red green blue dark", "red", "green blue dark", "blue"]
    blocks = list(output_blocks(model.towers["text"].backbone, texts, batch_size=2))
    assert [block.tolist() for block, _ in blocks] == [[1, 3], [2, 0]]
    whole = np.concatenate([rows for _, rows in blocks])[np.argsort([1, 3, 2, 0])]
    np.testing.assert_allclose(whole, model.encode_text(texts, output="features"), atol=1e-6)


def test_the_cache_gives_the_rows_of_the_tower_in_batches_of_the_asked_size(
    files: list[Path], tmp_path: Path
) -> None:
    model = pixel_encoder(bits=8).requires_grad_(False)
    pictures = [Image.open(file).convert("RGB") for file in files]
    sizes: list[int] = []
    model.lift.register_forward_hook(lambda _, given, made: sizes.append(len(given[0])))
    plain = model.encode("image", pictures, "points", "features", "floats", batch_size=4)
    model.cache = BackboneCache(tmp_path, quiet=True)
    for _ in range(2):  # computed, then read
        for a, b in zip(
            model.encode("image", pictures, "points", "features", "floats", batch_size=4), plain, strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert sizes == 3 * [4, 4, 3]
    assert [rows.shape for rows in model.encode("image", [], "points", "floats")] == [(0, 1), (0, 8)]


@pytest.mark.parametrize(
    "text, kind, name",
    [("pixels", "pixels", ""), ("features:cnn", "features", "cnn"), ("features:a:b", "features", "a:b")],
)
def test_what_a_tower_reads_is_parsed_and_stored_again(text: str, kind: str, name: str) -> None:
    assert Reads.of(text) == (kind, name) and str(Reads.of(text)) == text


def test_the_parts_of_a_text_come_apart_as_they_were_joined() -> None:
    parts = [{"counts": 1}, {}, {"input_ids": 2, "a.b": 3}]
    joined = join_parts(parts)
    assert joined == {"0.counts": 1, "2.input_ids": 2, "2.a.b": 3} and split_parts(joined, 3) == parts


def test_cached_outputs_and_sets_are_no_raw_tensors() -> None:
    tensors = {"pixels": torch.ones(1, 3, 2, 2)}
    assert raw(tensors) is tensors
    for inputs in (Cached(torch.ones(1, 2)), Sets(tensors, torch.ones(1, 1))):
        with raises_code("E-CONFIG-VALUE", "training:"):
            raw(inputs)
    names = [name for name, _ in named_tensors(Sets(tensors, torch.ones(1, 1)))]
    assert names == ["pixels", "shares"] and unmasked(Cached(torch.ones(1))).backbone_output == 1  # type: ignore[union-attr]
