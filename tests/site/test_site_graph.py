"""The page computes what ONNX Runtime computes, for every kind of text tower and lift."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from javascript import floats, needs_node, run_js

from limbeck.codes import sign_codes
from limbeck.encoders.config import (
    BagConfig,
    ClipTextConfig,
    ConcatConfig,
    StaticConfig,
    TokenizerConfig,
    TowerConfig,
)
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import (
    BinaryConfig,
    EuclidConfig,
    HashConfig,
    PolarConfig,
    SphereConfig,
    TangentConfig,
)
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.onnx_export import export_tower
from limbeck.encoders.static import Ball, StaticBackbone, StaticTable
from limbeck.encoders.static_fit import train_wordpiece
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.onnx.encoder import OnnxTower
from limbeck.site.graph import OPERATORS, read_graph
from limbeck.site.text_tower import browser_tower
from tiny_encoder import WORDS

TEXTS = ["red", "a dark blue green", "red " * 9 + "green", "Blue, dark? RED!"]
CLIP = ClipTextConfig(width=16, layers=2, heads=2, context=12)
CODE = """
return value.map(({ told, weights, texts }) => {
  const tower = new site.text.TextTower(told, site.bytes(weights).buffer);
  return texts.map((text) => {
    const { embedding, floats } = tower.encode(text);
    const code = new Uint8Array(site.scan.signCode(embedding).buffer);
    return [embedding, floats, code].map((array) => Array.from(array));
  });
});
"""
TOWERS: dict[str, tuple[TowerConfig, Any]] = {
    "bag, hash": (TowerConfig(backbone=BagConfig(), hidden=[12]), HashConfig(bits=24)),
    "clip, tangent": (TowerConfig(backbone=CLIP), TangentConfig(dim=6)),
    "clip, polar": (TowerConfig(backbone=CLIP, hidden=[12], norm=True), PolarConfig(dim=6)),
    "static, sphere": (TowerConfig(backbone=StaticConfig(dim=16, rank=4)), SphereConfig(dim=6)),
    "static bpe, euclid": (
        TowerConfig(backbone=StaticConfig(dim=16, tokenizer=TokenizerConfig(kind="bpe", vocabulary_size=40))),
        EuclidConfig(dim=6),
    ),
    "packed static, hash": (
        TowerConfig(backbone=StaticConfig(dim=10, fine=4, ball=True)),
        HashConfig(bits=16),
    ),
    "concat, binary": (
        TowerConfig(backbone=ConcatConfig(parts=[BagConfig(), CLIP])),
        BinaryConfig(bits=16, rotation="random"),
    ),
}


def pack(backbone: StaticBackbone, texts: list[str]) -> None:
    """Fill a packed table, as `limbeck distil-text` does."""
    backbone.use(train_wordpiece(texts, 60))
    rng = np.random.default_rng(0)
    size, dim = backbone.tokenizer.get_vocab_size(), backbone.dim
    rows, weight = rng.standard_normal((size, dim)), rng.random(size)
    ball = Ball(rng.standard_normal(dim).astype(np.float32), 3.0)
    arrays = [array.astype(np.float32) for array in (rows, weight, rng.standard_normal(dim))]
    backbone.set_table(StaticTable(*arrays, ball))


def exported(folder: Path, config: TowerConfig, lift: Any) -> OnnxTower:
    torch.manual_seed(3)
    tower = Tower(config, "text")
    texts = WORDS * 3 + TEXTS
    if isinstance(tower.backbone, StaticBackbone) and tower.backbone.packed:
        pack(tower.backbone, texts)
        tower.build_trunk()
    else:
        tower.fit(texts, seed=0)
    model = DualEncoder(tower, tower, build_lift(lift, {"image": tower.dim, "text": tower.dim}))
    for parameter in model.parameters():  # zeros and ones of a new network would hide mistakes
        parameter.data += 0.1 * torch.randn(parameter.shape)
    if lift.kind == "binary":
        model.lift.projection.normal_()
    folder.mkdir()
    preprocess = tower.backbone.preprocessor
    assert preprocess is not None
    return export_tower(model.eval(), "text", preprocess, folder).tower


@needs_node
def test_every_kind_of_tower_gives_the_same_embeddings(tmp_path: Path) -> None:
    asked, expected = [], []
    for number, (tower, lift) in enumerate(TOWERS.values()):
        graph = exported(tmp_path / str(number), tower, lift)
        told = browser_tower(graph, tmp_path)
        weights = base64.b64encode(told.blob).decode()
        asked.append({"told": told.told, "weights": weights, "texts": TEXTS})
        expected.append([graph.run(graph.preprocess([text])) for text in TEXTS])
    for name, answers, wanted in zip(TOWERS, run_js(CODE, asked), expected, strict=True):
        for (embedding, kept, code), arrays in zip(answers, wanted, strict=True):
            for got, array in ((embedding, arrays[0]), (kept, arrays[-1])):
                assert np.abs(floats(got) - array[0]).max() < 2e-6 * np.abs(array).max(), name
            signs = sign_codes(np.pad(arrays[0], ((0, 0), (0, -arrays[0].shape[1] % 32)), constant_values=-1))
            assert code == signs[0].tolist(), name


@needs_node
def test_python_and_the_page_know_the_same_operators() -> None:
    assert set(run_js("return Object.keys(site.graph.OPERATORS);", None)) == OPERATORS


@needs_node
def test_operators_at_their_edges() -> None:
    code = """
    const { OPERATORS: o } = site.graph, f = (d, s) => ({ d: Float32Array.from(d), s });
    const i = (...d) => ({ d: Int32Array.from(d), s: [d.length] });
    const plain = (t) => [Array.from(t.d), t.s];
    const a = f([1, 2, 3, 4, 5, 6], [2, 3]);
    return [
      o.Slice(a, i(-1), i(-99), i(1), i(-2), {}), o.Slice(a, i(1), i(2147483647), {}),
      o.Concat(a, f([7, 8], [2, 1]), { axis: -1 }),
      o.Gather(a, { d: Int32Array.from([-1]), s: [] }, { axis: 1 }),
      o.ReduceSum(a, i(0), { keepdims: 0 }), o.ReduceMean(a, { axes: [-1], keepdims: 1 }),
      o.MatMul(f([1, 2], [2]), f([3, 4], [2]), {}), o.MatMul(a, f([1, 0, 2], [3]), {}),
      o.Where({ d: Uint8Array.from([1, 0]), s: [2, 1] }, a, f([0], []), {}),
      o.Softmax(f([1000, 1000], [1, 2]), { axis: 1 }), o.Erf(f([0, 0.5, 2.9, 3.1, -7], [5]), {}),
      o.Div({ d: Int32Array.from([-7]), s: [1] }, { d: Int32Array.from([2]), s: [1] }, {}),
      o.ArgMax(f([1, 3, 3], [1, 3]), { axis: 1, keepdims: 0 }), o.Clip(f([-2, 5], [2]), null, f([3], []), {}),
    ].map(plain);
    """
    erf = [0.0, 0.5204998778, 0.9999589021, 0.9999883513, -1.0]
    answers = run_js(code, None)
    assert answers[10][0] == pytest.approx(erf, abs=1e-7)
    del answers[10]
    assert answers == [
        [[3, 1, 6, 4], [2, 2]],
        [[4, 5, 6], [1, 3]],
        [[1, 2, 3, 7, 4, 5, 6, 8], [2, 4]],
        [[3, 6], [2]],
        [[5, 7, 9], [3]],
        [[2, 5], [2, 1]],
        [[11], []],
        [[7, 16], [2]],
        [[1, 2, 3, 0, 0, 0], [2, 3]],
        [[0.5, 0.5], [1, 2]],
        [[-3], [1]],
        [[1], [1]],
        [[-2, 3], [2]],
    ]


def test_a_tower_that_cannot_run_names_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = exported(tmp_path / "m", TowerConfig(backbone=BagConfig()), HashConfig(bits=8))
    monkeypatch.setattr("limbeck.site.graph.OPERATORS", OPERATORS - {"MatMul", "Gemm"})
    with pytest.raises(LimbeckError, match=r"needs operator (Gemm|MatMul).*limbeck distil-text.*--no-text"):
        browser_tower(tower, tmp_path / "index")
    monkeypatch.setattr("limbeck.site.text_tower.MOST_BYTES", 10)
    with pytest.raises(LimbeckError, match=r"weighs 0 MB.*limbeck index encoder .*index --model SMALL"):
        browser_tower(tower, tmp_path / "index")


@pytest.mark.parametrize("cut", [0, 1, 40, -20])
def test_a_damaged_graph_is_named(tmp_path: Path, cut: int) -> None:
    file = exported(tmp_path / "m", TowerConfig(backbone=BagConfig()), HashConfig(bits=8)).graph
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(LimbeckError, match="cannot be read"):
        read_graph(file)
