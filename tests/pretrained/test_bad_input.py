"""What cannot be loaded is one line that names what was found and the mend."""

from __future__ import annotations

import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import limbeck
from hub_models import write_bert, write_clip
from limbeck.encoders import sources
from limbeck.encoders.sources import local_folder
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from pretrained_models import write_hyper3, write_meru, write_open_clip, write_open_clip_siglip, write_siglip

Change = Callable[[Path], Any]


def refused(source: Path | str, message: str) -> None:
    with pytest.raises(LimbeckError, match=message) as found:
        limbeck.load(source)
    assert "\n" not in str(found.value)


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def pickled(name: str) -> Change:
    """The weights as a pickle in place of safetensors."""

    def change(folder: Path) -> None:
        file = next(folder.glob("*.safetensors"))
        torch.save(load_file(file), folder / name)
        file.unlink()

    return change


def reweighted(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def change(folder: Path) -> None:
        file = next(folder.glob("*.safetensors"))
        weights = load_file(file)
        edit(weights)
        save_file(weights, file)

    return change


def told(**changes: Any) -> Change:
    """A section of open_clip's configuration changed."""

    def change(folder: Path) -> None:
        file = folder / "open_clip_config.json"
        stored = read_json(file)
        for section, values in changes.items():
            stored["model_cfg"][section] |= values
        write_json(file, stored)

    return change


def checkpoint(edit: Callable[[dict[str, Any]], Any]) -> Change:
    def change(folder: Path) -> None:
        stored = torch.load(folder / "checkpoint.pth", weights_only=True)
        edit(stored)
        torch.save(stored, folder / "checkpoint.pth")

    return change


def tokenless(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def configured(section: str, **values: Any) -> Change:
    """A section of `transformers`' configuration changed."""

    def change(folder: Path) -> None:
        stored = read_json(folder / "config.json")
        stored[section] |= values
        write_json(folder / "config.json", stored)

    return change


def other_family(folder: Path) -> None:
    write_clip(folder / "clip")
    shutil.move(folder / "clip/model.safetensors", folder / "model.safetensors")
    shutil.rmtree(folder / "clip")


def evil(folder: Path) -> None:
    (folder / "checkpoint.pth").write_bytes(pickle.dumps({"model": Path("x")}))


CASES: dict[str, tuple[Callable[[Path], Path], Change, str]] = {
    "siglip without weights": (
        write_siglip,
        without("model.safetensors"),
        "incomplete, it lacks its weights",
    ),
    "siglip with weights of clip": (
        write_siglip,
        other_family,
        "its weights have other sizes than config.json says",
    ),
    "clip cut off": (write_clip, cut, "weights file is cut off or damaged: fetch or copy it again"),
    "clip with heads that do not divide the width": (
        write_clip,
        configured("text_config", num_attention_heads=3),
        "its config.json cannot be loaded .*heads",
    ),
    "clip with a configuration of another type": (
        write_clip,
        configured("text_config", num_hidden_layers="two"),
        "its config.json cannot be loaded",
    ),
    "siglip without tokenizer": (
        write_siglip,
        tokenless,
        r"incomplete, it lacks its tokenizer \(tokenizer.json, or",
    ),
    "siglip as pickle": (
        write_siglip,
        pickled("pytorch_model.bin"),
        r"only pickled weights \(\.bin\), which are never loaded; convert them, in its folder: python -c",
    ),
    "open_clip without weights": (
        write_open_clip,
        without("open_clip_model.safetensors"),
        r"the directory is incomplete, it lacks its weights \(open_clip_model\.safetensors\)",
    ),
    "open_clip as pickle": (
        write_open_clip,
        pickled("open_clip_pytorch_model.bin"),
        r"pickled weights \(open_clip_pytorch_model\.bin\), which are never loaded; convert them",
    ),
    "open_clip without a weight": (
        write_open_clip,
        reweighted(lambda w: w.pop("visual.ln_post.bias")),
        r"weights lack .*post_layernorm\.bias; they are of another architecture, or incomplete",
    ),
    "open_clip with more weights": (
        write_open_clip,
        reweighted(lambda w: w.update({"visual.transformer.resblocks.0.ls_1.gamma": torch.ones(32)})),
        r"weights hold .*ls_1\.gamma, which its architecture lacks",
    ),
    "open_clip of another size": (
        write_open_clip,
        told(vision_cfg={"image_size": 32}),
        r"position_embedding\.weight is \(5, 32\), not \(17, 32\)",
    ),
    "a ResNet": (
        write_open_clip,
        told(vision_cfg={"layers": [3, 4, 6, 3]}),
        r"a ResNet .* is not read; use a",
    ),
    "a text tower of BERT": (
        write_open_clip,
        told(text_cfg={"hf_model_name": "x"}),
        "text_cfg.hf_model_name",
    ),
    "another tower of timm": (
        write_open_clip_siglip,
        told(vision_cfg={"timm_model_name": "convnext_base"}),
        "its image tower is convnext_base of timm, of which only SigLIP's ViTs are read",
    ),
    "pictures of another grid": (
        write_open_clip_siglip,
        told(vision_cfg={"image_size": 24}),
        "24 x 24 make 3 x 3 patches of 8 pixels, but its weights have 4 positions",
    ),
    "open_clip without tokenizer": (write_open_clip, tokenless, "incomplete, it lacks its tokenizer"),
    "siglip without configuration": (
        write_siglip,
        without("config.json"),
        r"incomplete, it lacks config\.json or model\.json beside model\.safetensors",
    ),
    "open_clip's broken configuration": (
        write_open_clip,
        lambda folder: write_json(folder / "open_clip_config.json", {"model_cfg": {"embed_dim": 4}}),
        r"open_clip_config\.json cannot be understood .*; restore it",
    ),
    "meru without tokenizer": (
        write_meru,
        tokenless,
        r"has no tokenizer beside its weights; copy tokenizer\.j",
    ),
    "meru with more than tensors": (
        write_meru,
        evil,
        r"checkpoint\.pth (holds more than tensors|is damaged)",
    ),
    "a damaged checkpoint": (
        write_meru,
        lambda folder: (folder / "checkpoint.pth").write_bytes(b"PK\x03\x04" + bytes(90)),
        r"checkpoint\.pth is damaged; restore the published file",
    ),
    "two checkpoints": (
        write_meru,
        lambda folder: shutil.copy(folder / "checkpoint.pth", folder / "other.pth"),
        r"holds several checkpoints \(checkpoint\.pth, other\.pth\); give the path of one of them",
    ),
    "a checkpoint of something else": (
        write_meru,
        checkpoint(lambda stored: stored["model"].pop("textual_proj.weight")),
        r"lacks textual_proj\.weight; it is no checkpoint of MERU or HyCoCLIP",
    ),
    "meru without a class token": (
        write_meru,
        checkpoint(lambda stored: stored["model"].pop("visual.cls_token")),
        "its image side lacks cls_token; only ViTs with a class token are read",
    ),
    "hyper3 without curvature": (
        lambda folder: write_hyper3(folder, hub=True),
        reweighted(lambda w: w.pop("log_curv")),
        r"model\.safetensors lacks log_curv; it is no Hyper3-CLIP",
    ),
    "hyper3 without tokenizer": (
        lambda folder: write_hyper3(folder, hub=False),
        tokenless,
        "has no tokenizer",
    ),
    "a sentence encoder": (
        write_bert,
        lambda folder: write_json(
            folder / "modules.json", [{"type": "st.Transformer"}, {"type": "st.Pooling"}]
        ),
        r"sentence encoder for texts only \(Transformer, Pooling\); use it as a text tower: \{kind: sentence",
    ),
    "another model": (
        write_bert,
        lambda folder: None,
        "config.json is of a bert model, .*; use a run, a model",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_directory_is_one_line(case: str, tmp_path: Path) -> None:
    write, change, message = CASES[case]
    folder = write(tmp_path / "model")
    change(folder)
    refused(folder, message)


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    folder = write_meru(tmp_path / "meru")
    torch.save({"model": Evil()}, folder / "checkpoint.pth")
    refused(folder, "holds more than tensors, and limbeck runs no pickle")
    assert not (tmp_path / "ran").exists()


def test_the_command_that_converts_a_pickle_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_clip(tmp_path / "clip")
    wanted = limbeck.load(folder).encode_text(["a red cat"])
    pickled("pytorch_model.bin")(folder)
    with pytest.raises(LimbeckError) as found:
        limbeck.load(folder)
    monkeypatch.chdir(folder)
    exec(str(found.value).split('python -c "', 1)[1].removesuffix('"'), {})
    assert (limbeck.load(folder).encode_text(["a red cat"]) == wanted).all()


def test_a_side_need_not_be_a_multiple_of_the_patch(tmp_path: Path, pictures: list[Image.Image]) -> None:
    """As SigLIP's so400m of 384 px with patches of 14; the rest of the picture is not looked at."""
    from transformers import SiglipModel

    folder = write_siglip(tmp_path / "odd", image_size=20)
    encoder = limbeck.load(folder)
    pixels = encoder.towers["image"].backbone.collate(pictures)["pixels"]
    assert pixels.shape[-2:] == (20, 20)
    with torch.no_grad():
        wanted = (
            SiglipModel.from_pretrained(folder).eval().get_image_features(pixel_values=pixels).pooler_output
        )
        torch.testing.assert_close(encoder.towers["image"]({"pixels": pixels}), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_id_without_network_is_one_line(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    why = "switched off by HF_HUB_OFFLINE" if offline else "the hub did not return it"
    refused("someone/model-that-is-nowhere", why)


def test_a_hub_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    cached: list[bool] = []

    def snapshot(source: str, *, local_files_only: bool, **_: Any) -> str:
        cached.append(local_files_only)
        raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(sources, "PATIENCE", 0.05)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        refused("someone/model-that-is-nowhere", r"the hub did not return it \(it was silent for 0\.05 s\)")
    assert cached == [True]


def test_the_hub_is_asked_for_graphs_where_it_has_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[list[str]] = []
    files: list[str] = []

    def snapshot(source: str, *, allow_patterns: list[str], **_: Any) -> str:
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, source: files)
    local_folder("someone/graphs")
    assert ["visual/*" in patterns for patterns in asked] == [False, True]
    files += ["meru_vit_b.pth", "hycoclip_vit_b.pth"]
    with pytest.raises(LimbeckError, match=r"hf download someone/graphs meru_vit_b\.pth --local-dir DIR"):
        local_folder("someone/graphs")
    (tmp_path / "model.safetensors").touch()
    asked.clear()
    local_folder("someone/graphs")
    assert len(asked) == 1


def test_an_index_is_no_model(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest-9.json", {"model": "runs/old"})
    write_json(tmp_path / "manifest-10.json", {"model": "runs/photos"})
    refused(tmp_path, r"is an index, not a model; give what it was built with: runs/photos")
