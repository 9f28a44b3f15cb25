"""``limbeck export --onnx``: the files, and figures that a brute-force comparison gives too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from limbeck.evaluation.onnx_parity import Items, export_and_compare
from limbeck.onnx import OnnxEncoder
from limbeck.onnx.precision import PRECISIONS
from tiny_encoder import WORDS, pixel_encoder, write_pictures

Run = Callable[..., tuple[int, str, str]]


def test_figures_of_every_precision(tmp_path: Path) -> None:
    model = pixel_encoder(bits=16)
    write_pictures(tmp_path / "media", range(6))
    pictures = sorted((tmp_path / "media").iterdir())
    items = Items(pictures, WORDS, np.arange(6), np.arange(4), True)
    torch, *parities = export_and_compare(model, tmp_path / "out", PRECISIONS, items)
    assert [one.precision for one in parities] == list(PRECISIONS)
    assert torch.cosine == {"text": pytest.approx(1), "image": pytest.approx(1)}
    for one in parities:
        opened = OnnxEncoder.open(tmp_path / "out", one.precision)  # type: ignore[arg-type]
        assert opened is not None and one.bits is not None
        embeddings, codes = opened.encode("image", pictures, "embeddings", "points")
        wanted, expected = model.encode("image", pictures, "embeddings", "points")
        rows = zip(embeddings, wanted, strict=True)
        cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in rows]
        assert one.cosine["image"] == pytest.approx(min(cosines), abs=1e-6) and min(cosines) > 0.99
        equal = np.unpackbits(codes) == np.unpackbits(expected)
        assert one.bits["image"] == pytest.approx(equal.mean())
        assert one.bytes == sum(tower.graph.stat().st_size for tower in opened.towers.values())
        assert one.recall is not None and set(one.recall) == {"i2t r@1", "i2t r@10", "t2i r@1", "t2i r@10"}
    assert parities[0].bytes > parities[2].bytes  # int8 is smaller


def test_the_command_writes_what_was_asked_for(limbeck: Run, tmp_path: Path) -> None:
    pixel_encoder().save(tmp_path / "m")
    code, out, err = limbeck("export", tmp_path / "m", "--onnx", tmp_path / "x", "--precision", "int8")
    assert code == 0, err
    assert "int8" in out and "fp16" not in out and "3 pictures and 3 texts" in out
    names = {p.relative_to(tmp_path / "x").as_posix() for p in (tmp_path / "x").rglob("*.*")}
    assert names == {
        "onnx/encoder.json",
        "onnx/text/vocabulary.json",
        "onnx/text/model_quantized.onnx",
        "onnx/image/model_quantized.onnx",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--precision", "int4"), "choose one of fp32, fp16, int8"),
        (("--pairs", "nowhere"), "nowhere"),
    ],
)
def test_bad_options_leave_nothing(limbeck: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    pixel_encoder().save(tmp_path / "m")
    code, _, err = limbeck("export", tmp_path / "m", "--onnx", tmp_path / "x", *words)
    assert code == 1 and said in err and not (tmp_path / "x").exists()


def test_an_existing_directory_is_refused(limbeck: Run, tmp_path: Path) -> None:
    pixel_encoder().save(tmp_path / "m")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("mine")
    code, _, err = limbeck("export", tmp_path / "m", "--onnx", tmp_path / "x")
    assert code == 1 and str(tmp_path / "x") in err and (tmp_path / "x/mine.txt").exists()
