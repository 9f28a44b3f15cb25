"""One place chooses the device of what encodes; the command line takes the best that the machine has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import limbeck as package
from limbeck.encoders import device
from limbeck.encoders.chosen import asked_device, on_device
from limbeck.encoders.device import find_device, placed
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures


def machine(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: int) -> None:
    monkeypatch.setattr(device, "devices_found", lambda: {"cuda": cuda, "mps": mps, "cpu": 1})


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "wanted"),
    [
        (0, 0, None, "cpu"),
        (0, 1, None, "mps"),
        (2, 1, None, "cuda"),
        (2, 0, "cuda:1", "cuda:1"),
        (2, 0, "cpu", "cpu"),
        (0, 0, "cpu:0", "cpu:0"),
    ],
)
def test_the_best_or_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: int, name: str | None, wanted: str
) -> None:
    machine(monkeypatch, cuda, mps)
    assert str(find_device(name)) == wanted


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cuda", ("E-DEVICE-MISSING", "this machine has 1 mps, 1 cpu; leave it out for the best")),
        ("mps:1", ("E-DEVICE-MISSING", "this machine has")),
        ("cpu:7", ("E-DEVICE-MISSING", "this machine has")),
        ("gpu", ("E-OPTION-CHOICE", "choose one of cuda, mps, cpu")),
        ("cuda:x", ("E-OPTION-CHOICE", "choose one of")),
        ("", ("E-OPTION-CHOICE", "choose one of")),
    ],
)
def test_what_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, told: tuple[str, ...]
) -> None:
    machine(monkeypatch, 0, 1)
    with raises_code(*told) as found:
        find_device(name)
    assert "\n" not in str(found.value)


def test_a_program_stays_on_the_cpu_until_it_says_otherwise() -> None:
    assert asked_device() == "cpu"
    with on_device(None):
        assert asked_device() is None
        with pytest.raises(KeyError), on_device("meta"):
            raise KeyError
        assert asked_device() is None
    assert asked_device() == "cpu"


def test_another_device_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "find_device", lambda name: torch.device("meta"))
    monkeypatch.setattr(device, "SAID", set())
    model = placed(pixel_encoder())
    assert {p.device.type for p in model.parameters()} == {"meta"}
    placed(pixel_encoder())
    assert capsys.readouterr().err == "limbeck: encodes on meta; --device cpu keeps it on the CPU\n"
    monkeypatch.undo()
    placed(pixel_encoder())
    assert capsys.readouterr().err == ""


def test_every_verb_that_encodes_takes_a_device(tmp_path: Path, limbeck: Any, monkeypatch: Any) -> None:
    asked: list[str | None] = []
    real = device.find_device

    def noted(name: str | None) -> torch.device:
        asked.append(name)
        return real("cpu" if name == "mine" else name)

    monkeypatch.setattr(device, "find_device", noted)
    pixel_encoder().save(tmp_path / "model")
    write_pictures(tmp_path / "media", range(3))
    index = tmp_path / "index"
    for words in (
        ("encode", tmp_path / "model", tmp_path / "media", "--out", tmp_path / "set", "--replace"),
        ("index", "build", tmp_path / "media", "--model", tmp_path / "model", "--out", index, "--replace"),
        ("index", "add", index, tmp_path / "media", "--replace"),
        ("search", index, "red"),
    ):
        for options in (["--device", "mine"], []):
            code, _, err = limbeck(*words, *options)
            assert code == 0, err
            # Without a device, an index needs no torch at all: its model has ONNX graphs.
            without = set() if words[0] == "search" or words[1] == "add" else {None}
            assert set(asked) == ({"mine"} if options else without), words
            asked.clear()
    for verb in ("evaluate", "traverse"):
        assert "--device" in limbeck(verb, "--help")[1]
    assert asked_device() == "cpu"
    code, _, err = limbeck("search", index, "red", "--device", "tpu")
    assert (code, "device 'tpu': choose one of" in err) == (1, True)


def test_load_takes_a_device(tmp_path: Path) -> None:
    pixel_encoder().save(tmp_path / "model")
    assert package.load(tmp_path / "model", device="cpu").device.type == "cpu"
    with raises_code("E-DEVICE-MISSING", "'cuda:99'"):
        package.load(tmp_path / "model", device="cuda:99")
