"""A sentence encoder is pooled as its own modules say, by hand at every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hub_models import write_bert
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.config import SentenceConfig
from limbeck.encoders.pooling import PoolingPlan, plan_from_json, read_modules
from limbeck.encoders.tensors import save_tensors
from limbeck.encoders.text import SentenceBackbone
from raising import raises_code

TEXTS = ["red cats", "a dog", "a b c d e f g h", "dog."]
WIDTH = 12


def write_modules(
    folder: Path, pooling: dict[str, Any], *, dense: str | None = None, normalize: bool = True
) -> None:
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), *(["Normalize"] if normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{kind}", "type": f"s_t.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    if dense:
        (folder / "2_Dense").mkdir(exist_ok=True)
        config = {"in_features": WIDTH, "out_features": 5, "bias": True, "activation_function": dense}
        (folder / "2_Dense/config.json").write_text(json.dumps(config))
        torch.manual_seed(3)
        weights = {"linear.weight": torch.randn(5, WIDTH), "linear.bias": torch.randn(5)}
        save_tensors(folder / "2_Dense/model.safetensors", weights)


def states(folder: Path, backbone: SentenceBackbone, text: str) -> np.ndarray:
    from transformers import BertModel

    ids = torch.tensor([backbone.tokenizer.encode(text).ids])
    with torch.no_grad():
        return BertModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state[0].double().numpy()


def pooled(mode: str, hidden: np.ndarray) -> np.ndarray:
    count = np.arange(1, len(hidden) + 1)[:, None]
    return {
        "cls": lambda: hidden[0],
        "mean": lambda: hidden.mean(0),
        "max": lambda: hidden.max(0),
        "mean_sqrt_len_tokens": lambda: hidden.sum(0) / np.sqrt(len(hidden)),
        "weightedmean": lambda: (hidden * count).sum(0) / count.sum(),
        "lasttoken": lambda: hidden[-1],
    }[mode]()


@pytest.mark.parametrize("mode", ["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"])
@pytest.mark.parametrize("normalize", [False, True])
def test_pooling_of_the_modules(tmp_path: Path, mode: str, normalize: bool) -> None:
    folder = write_bert(tmp_path / "bert")
    key = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}.get(mode, mode)
    key = "weightedmean_tokens" if mode == "weightedmean" else key
    write_modules(
        folder, {"word_embedding_dimension": WIDTH, f"pooling_mode_{key}": True}, normalize=normalize
    )
    backbone = SentenceBackbone(SentenceConfig(source=str(folder), center=False)).eval()
    wanted = np.stack([pooled(mode, states(folder, backbone, text)) for text in TEXTS])
    if normalize:
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    with torch.no_grad():
        found = backbone(backbone.collate(TEXTS)).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    backbone.save_assets(tmp_path)
    again = SentenceBackbone(SentenceConfig(source="gone", center=False), empty=True)
    again.load_assets(tmp_path)
    again.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert np.array_equal(again.eval()(again.collate(TEXTS)).numpy(), found)


def test_dense_layers_and_modes_side_by_side(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    write_modules(folder, {"pooling_mode_mean_tokens": True}, dense="torch.nn.modules.activation.Tanh")
    backbone = SentenceBackbone(SentenceConfig(source=str(folder), center=False)).eval()
    assert backbone.dim == 5
    torch.manual_seed(3)
    weight, bias = torch.randn(5, WIDTH).double().numpy(), torch.randn(5).double().numpy()
    wanted = np.stack([np.tanh(weight @ states(folder, backbone, text).mean(0) + bias) for text in TEXTS])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    with torch.no_grad():
        np.testing.assert_allclose(backbone(backbone.collate(TEXTS)).numpy(), wanted, atol=2e-5)
    write_modules(folder, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, normalize=False)
    backbone = SentenceBackbone(SentenceConfig(source=str(folder), center=False)).eval()
    hidden = states(folder, backbone, "a dog")
    with torch.no_grad():
        found = backbone(backbone.collate(["a dog"])).numpy()[0]
    np.testing.assert_allclose(found, np.concatenate([hidden[0], hidden.mean(0)]), atol=2e-5)


def test_prompt_case_and_length_of_the_source(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    write_modules(folder, {"pooling_mode": "mean"})
    prompts = {"prompts": {"q": "red "}, "default_prompt_name": "q"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    lengths = {"max_seq_length": 6, "do_lower_case": True}
    (folder / "sentence_bert_config.json").write_text(json.dumps(lengths))
    backbone = SentenceBackbone(SentenceConfig(source=str(folder), center=False))
    plain = SentenceBackbone(SentenceConfig(source=str(write_bert(tmp_path / "plain")), max_length=6))
    wanted = plain.collate(["red a dog", "red a b c d e f g"])
    found = backbone.collate(["A dog", "a b c d e f g"])
    assert torch.equal(found["input_ids"], wanted["input_ids"])
    assert found["input_ids"].shape == (2, 6)


def test_the_memory_of_texts_tells_poolings_apart(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    found = []
    for mode in ("cls", "max"):
        write_modules(folder, {"pooling_mode": mode})
        backbone = SentenceBackbone(SentenceConfig(source=str(folder), center=False)).eval()
        inputs = backbone.collate(TEXTS)
        with torch.no_grad():
            alone = backbone(inputs)
            with BackboneCache(tmp_path / "memory").remembering(backbone):
                assert torch.equal(backbone(inputs), alone)
        found.append(alone)
    assert not torch.allclose(found[0], found[1])


def test_a_plain_transformer_is_as_before(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    assert read_modules(folder).plan == PoolingPlan()
    backbone = SentenceBackbone(SentenceConfig(source=str(folder)))
    backbone.save_assets(tmp_path)
    assert not (tmp_path / "pooling.json").exists()
    plan = PoolingPlan(("cls", "max"), ((3, 4, True, "Tanh"),), False, True, "x", 7)
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_modules_that_are_not_known_are_refused(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    write_modules(folder, {})
    with raises_code("E-MODEL-UNSUPPORTED", "config.json:"):
        read_modules(folder)
    write_modules(folder, {"pooling_mode": "mean"}, dense="mine.Square")
    with raises_code("E-MODEL-UNSUPPORTED", "'Square'"):
        read_modules(folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "custom.Router"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with raises_code("E-MODEL-UNSUPPORTED", "'Router'"):
        read_modules(folder)
    modules[0] |= {"type": "s.Pooling", "path": "../other"}
    (folder / "modules.json").write_text(json.dumps(modules))
    with raises_code("E-MODEL-DAMAGED", "modules.json:"):
        read_modules(folder)
