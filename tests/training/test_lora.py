"""Adapters and learning rates per tower: what is trained, how fast, and what a saved model holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck
from hub_models import write_bert, write_clip
from limbeck.encoders.config import LoraConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lora import adapt, adapter_parameters, merged
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.files import read_json, sha256_file
from limbeck.training import fit, train
from limbeck.training.data import open_data
from limbeck.training.dry_run import dry_run
from limbeck.training.fit import Interrupted
from limbeck.training.optim import Schedule, build_optimizer
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, told_sizes
from pretrained_models import write_siglip
from tiny import write_pairs, write_protocol

pytest.importorskip("peft")
LORA = {"rank": 2, "alpha": 4.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    write_pairs(folder, rows=60, pictures=16)
    write_protocol(folder, "retrieval")
    write_clip(folder / "clip")
    write_siglip(folder / "siglip")
    write_bert(folder / "bert")
    return folder


def recipe(place: Path, source: str = "clip", **optim: Any) -> dict[str, Any]:
    model = str(place / source)
    return {
        "name": "tiny/lora",
        "data": {"pairs": str(place / "pairs"), "protocol": str(place / "retrieval.yaml")},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "lift": {"kind": "sphere", "dim": 8},
        "towers": {
            "image": {"backbone": {"kind": "clip_image", "source": model}, "lora": LORA},
            "text": {"backbone": {"kind": "clip_text", "source": model}, "lora": LORA},
        },
        "optim": {"lr": 0.01, "warmup": 0.0} | optim,
        "schedule": {"steps": 4, "batch_size": 16, "select": "last", "log_every": 1, "checkpoint_every": 2},
        "stages": {"tune": {"method": {"name": "clip"}}},
    }


def method_of(tree: dict[str, Any]) -> Any:
    resolved = load_recipe(tree)
    data = open_data(resolved).of_stage(resolved.last, 0)
    return build_method(resolved.last, data, {}, 0, say=lambda line: None), resolved.last


@pytest.mark.parametrize("source", ["clip", "siglip"])
def test_only_adapters_and_heads_have_gradients(place: Path, source: str) -> None:
    method, _ = method_of(recipe(place, source))
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    towers = method.encoder.towers
    rows = {
        "image": towers["image"].backbone.collate(pictures),
        "text": towers["text"].backbone.collate(["a cat", "a red dog"]),
    }
    torch.manual_seed(0)
    for name, parameter in method.named_parameters():
        if "lora_B" in name:  # at its start, zero, lora_A has no gradient
            torch.nn.init.normal_(parameter)
    sum(method.encoder.embed(m, inputs)[:, 0].sum() for m, inputs in rows.items()).backward()
    moved = {name for name, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    wanted = {name for name, p in method.named_parameters() if p.requires_grad and "logit_scale" not in name}
    assert moved == wanted
    assert all(".lora_" in name or "lift.heads" in name for name in moved)
    assert sum("image.backbone" in name for name in moved) == 2 * 6 * 2  # layers, linear maps, A and B


@pytest.mark.parametrize("source", ["clip", "siglip"])
def test_the_saved_model_holds_merged_weights(place: Path, tmp_path: Path, source: str) -> None:
    method, _ = method_of(recipe(place, source))
    encoder = method.encoder.eval()
    texts = ["a cat", "a red dog", "two dogs"]
    start = encoder.encode_text(texts)
    torch.manual_seed(1)
    for name, parameter in encoder.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    before = encoder.encode_text(texts)
    assert np.abs(before - start).max() > 0.01
    weights = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.save(tmp_path / "model")
    assert all(torch.equal(weights[name], tensor) for name, tensor in encoder.state_dict().items())
    with merged(encoder):
        np.testing.assert_allclose(encoder.encode_text(texts), before, atol=1e-5)
    saved = DualEncoder.load(tmp_path / "model")
    np.testing.assert_allclose(saved.encode_text(texts), before, atol=1e-5)
    assert saved.space_id == read_json(tmp_path / "model/model.json")["space_id"]
    assert adapter_parameters(saved) == 0


def test_a_run_tells_its_adapters_and_needs_no_peft_to_load(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(recipe(place), out=tmp_path / "run")
    facts = read_json(run / "stages/tune/done.json")
    # rank times (in + out), 2 layers; 4 of 16 x 16 and 16 to 32 and back for text, of 24 for images
    text, image = 2 * 2 * (4 * 32 + 2 * 48), 2 * 2 * (4 * 48 + 2 * 56)
    assert facts["adapter_parameters"] == text + image
    assert facts["trained_parameters"] == text + image + 2 * 10 * 8 + 1  # heads and temperature
    trained = f"{text + image + 161:,} trained ({text + image:,} in adapters, now merged)"
    assert told_sizes(facts) == f"{facts['parameters']:,} parameters, {trained}"
    assert f"towers.text trains {text:,} parameters of adapters" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "peft", None)
    saved = limbeck.load(run)
    assert sum(p.numel() for p in saved.parameters()) == facts["parameters"]


def test_resuming_gives_the_same_bytes(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = recipe(place)
    tree["towers"]["text"]["lora"] = LORA | {"dropout": 0.2}
    whole = train(tree, out=tmp_path / "whole", quiet=True)
    stepped = fit.check_gradients
    calls = []

    def stop(*args: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted
        stepped(*args, **more)

    monkeypatch.setattr(fit, "check_gradients", stop)
    with pytest.raises(Interrupted):
        train(tree, out=tmp_path / "halves", quiet=True)
    assert (tmp_path / "halves/stages/tune/state-00000002").is_dir()
    halves = train(tree, out=tmp_path / "halves", quiet=True, resume=True)
    weights = "model/model.safetensors"
    assert sha256_file(whole / weights) == sha256_file(halves / weights)


def test_sentence_encoders_take_adapters_outside_the_pooler(place: Path) -> None:
    config = {"backbone": {"kind": "sentence", "source": str(place / "bert"), "center": False}}
    tower = Tower(TowerConfig.model_validate(config), "text")
    adapt(tower.backbone, LoraConfig(rank=1), "lora")
    names = {name for name, p in tower.named_parameters() if p.requires_grad}
    assert len(names) == 2 * 6 * 2
    assert not any("pooler" in name for name in names)
    assert {name.split(".")[-4] for name in names} == {"query", "key", "value", "dense"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"lora": {"targets": ["q_prj"]}},
            r"lora\.targets: there is no layer 'q_prj'; known are fc1, fc2, k_proj",
        ),
        ({"lora": {"rank": 1}, "freeze_backbone": True}, "set freeze_backbone: false"),
        ({"lora": {"rank": 1}, "backbone": {"kind": "bag"}}, "adapters need pretrained weights"),
        ({"lora": {"rnk": 1}}, "did you mean 'rank'"),
    ],
)
def test_impossible_adapters_are_refused(place: Path, change: dict[str, Any], said: str) -> None:
    tree = recipe(place)
    tree["towers"]["text"] |= change
    with pytest.raises(LimbeckError, match=said) as told:
        method_of(tree)
    assert told.value.code in ("E-CONFIG-VALUE", "E-CONFIG-KEY")


def test_without_peft_the_message_names_the_extra(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(LimbeckError, match=r"pip install 'limbeck\[lora\]'"):
        method_of(recipe(place))


def test_each_tower_has_its_learning_rate_and_the_schedule_scales_each(place: Path) -> None:
    method, stage = method_of(recipe(place, backbone_lr={"image": 1e-4}, lr_scale={"text": 0.5}))
    optimizer, names = build_optimizer(method, stage.optim)
    Schedule(optimizer, total=4, warmup=0.0).set(2)
    rates = [group["lr"] for group in optimizer.param_groups for _ in group["params"]]
    found = dict(zip(names, rates, strict=True))
    for name, rate in found.items():
        if "towers.image.backbone" in name:
            assert rate == pytest.approx(0.5e-4)
        elif ".text." in name:
            assert rate == pytest.approx(0.25e-2)
        else:
            assert rate == pytest.approx(0.5e-2)
    assert {True, False} == {"image.backbone" in name for name in found}


def test_the_dry_run_shows_the_groups(place: Path) -> None:
    text = "\n".join(dry_run(load_recipe(recipe(place, backbone_lr={"image": 1e-4}))))
    assert "learning rates: 0.0001 for image backbone (1,216); 0.01 for text backbone (896)" in text
    assert "(2,273 trained, 2,112 in adapters)" in text


def test_a_wrong_tower_is_refused(place: Path) -> None:
    with pytest.raises(LimbeckError, match=r"optim\.backbone_lr") as told:
        load_recipe(recipe(place, backbone_lr={"picture": 1e-4}))
    assert told.value.code.startswith("E-CONFIG")
