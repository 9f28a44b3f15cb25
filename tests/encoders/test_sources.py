"""What a source of pretrained weights may do: nothing of it is executed, the hub is asked only by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import limbeck
from hub_models import write_bert, write_clip
from limbeck.encoders.config import FeaturesConfig, SentenceConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import SphereConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.sources import hub_closed, is_hub_id, local_folder
from limbeck.encoders.text import SentenceBackbone
from limbeck.encoders.tokenizer import load_tokenizer
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from raising import raises_code


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "bert")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any question to the hub fails the test."""
    import huggingface_hub

    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)


def sentence_model(source: Path) -> DualEncoder:
    """An untouched sentence encoder beside features; its weights are kept by reference."""
    import numpy as np

    image = Tower(TowerConfig(backbone=FeaturesConfig(name="cnn")), "image")
    image.fit(np.random.default_rng(0).random((20, 6), np.float32), seed=0)
    config = TowerConfig(backbone=SentenceConfig(source=str(source), center=False), freeze_backbone=True)
    text = Tower(config, "text")
    text.fit(["a cat"], seed=0)
    towers = {"image": image, "text": text}
    lift = build_lift(SphereConfig(dim=4), {m: t.dim for m, t in towers.items()})
    return DualEncoder(image, text, lift).eval().requires_grad_(False)


def refused(source: str | Path, message: str) -> None:
    with pytest.raises(LimbeckError, match=message) as found:
        SentenceBackbone(SentenceConfig(source=str(source)))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_in_a_directory_is_never_run(bert: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (bert / "evil.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    stored = read_json(bert / name) if (bert / name).is_file() else {}
    write_json(bert / name, stored | {"auto_map": {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"}})
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    refused(bert, rf"bert: {name}: names its own code \(auto_map\)")
    with raises_code("E-MODEL-UNSUPPORTED", "auto_map"):
        load_tokenizer(str(bert))
    assert not (bert / "ran").exists()


def test_code_in_a_saved_model_is_never_run(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence_model(bert).save(tmp_path / "model", bundle=True)
    file = tmp_path / "model/text/text.json"
    write_json(file, read_json(file) | {"auto_map": {"AutoModel": "evil.Model"}})
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with raises_code("E-MODEL-UNSUPPORTED", "text.json"):
        limbeck.load(tmp_path / "model")


@pytest.mark.parametrize("shard", ["pytorch_model.bin", "../bert.safetensors", "/etc/x.safetensors", ""])
def test_an_index_that_names_other_files_is_refused(
    bert: Path, shard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was reached"))
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    weights = {"embeddings.word_embeddings.weight": shard}
    (bert / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    refused(bert, r"index\.json: names \".*\", which is not a safetensors file in the same folder")


def test_what_looks_like_a_path_is_a_missing_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_hub: None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "file").touch()
    for name in (
        "./clip",
        "../clip",
        "~/clip-that-is-not",
        "/no/such",
        "a/b/c",
        "runs/gone",
        "clip",
        "a\\b",
        "",
    ):
        assert not is_hub_id(name)
        with pytest.raises(LimbeckError, match=r"(there is no such directory|is a file|cannot|no such run)"):
            local_folder(name or "file")
        with pytest.raises(LimbeckError):
            limbeck.load(name or "file")
    assert is_hub_id("openai/clip-vit-base-patch32")


def test_a_hub_id_that_cannot_be_had_is_one_line() -> None:
    with raises_code("E-MODEL-DOWNLOAD", "nothing:") as found:
        local_folder("nobody/nothing")
    assert "\n" not in str(found.value)


def test_a_dotted_package_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_parent").mkdir()
    (tmp_path / "evil_parent/__init__.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with raises_code("E-PACKAGE-MISSING", "package:"):
        local_folder("package:evil_parent.inner")


def test_a_saved_model_never_goes_to_the_hub(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    sentence_model(bert).save(tmp_path / "model")
    file = tmp_path / "model/model.json"
    stored = read_json(file)
    assert len(stored["references"]) == 1
    for reference in stored["references"].values():
        reference["source"] = "someone/encoder"
    write_json(file, stored)
    asked: list[dict[str, Any]] = []

    def snapshot(source: str, **options: Any) -> str:
        asked.append(options)
        raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with raises_code("E-MODEL-DOWNLOAD", "model:"):
        limbeck.load(tmp_path / "model")
    assert [options["local_files_only"] for options in asked] == [True]
    # where they are cached already the model opens
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(bert))
    assert limbeck.load(tmp_path / "model").encode_text(["a cat"]).shape == (1, 4)


def test_an_index_with_weights_elsewhere_is_refused(bert: Path, tmp_path: Path, no_hub: None) -> None:
    sentence_model(bert).save(tmp_path / "model")
    with raises_code("E-INDEX-DAMAGED", "model.json:"):
        DualEncoder.load(tmp_path / "model", bundled=True)
    sentence_model(bert).save(tmp_path / "whole", bundle=True)
    shutil.rmtree(bert)
    assert DualEncoder.load(tmp_path / "whole", bundled=True).encode_text(["a cat"]).shape == (1, 4)


def test_a_reference_to_no_pretrained_part_is_refused(bert: Path, tmp_path: Path) -> None:
    sentence_model(bert).save(tmp_path / "model")
    file = tmp_path / "model/model.json"
    stored = read_json(file)
    only = next(iter(stored["references"].values()))
    for prefix in ("lift.model.", "nothing.model.", "towers.image.backbone.model."):
        write_json(file, stored | {"references": {prefix: only}})
        with raises_code("E-MODEL-DAMAGED", "model.json:"):
            limbeck.load(tmp_path / "model")
    whole = next(iter(stored["references"]))
    for odd in (None, "x", {}, {"source": 3}):
        write_json(file, stored | {"references": {whole: odd}})
        with raises_code("E-MODEL-DAMAGED", "model.json:"):
            limbeck.load(tmp_path / "model")


def test_the_hub_is_closed_inside() -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with hub_closed():
        assert constants.HF_HUB_OFFLINE is True
    assert before == constants.HF_HUB_OFFLINE


def test_a_clip_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip")
    write_json(clip / "config.json", read_json(clip / "config.json") | {"auto_map": {"AutoModel": "a.B"}})
    with raises_code("E-MODEL-UNSUPPORTED", "auto_map"):
        limbeck.load(clip)


def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip")
    write_json(clip / "adapter_config.json", {"peft_type": "LORA"})
    with raises_code("E-MODEL-UNSUPPORTED", "clip:"):
        limbeck.load(clip)
    (clip / "adapter_config.json").unlink()
    limbeck.load(clip)
