"""A small text tower from a teacher: the same space, the same index, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import limbeck as package
from limbeck.data.pairs import Pairs
from limbeck.encoders.config import BagConfig, FeaturesConfig, MultiHotConfig, SentenceConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import HashConfig, PolarConfig, SphereConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.onnx import OnnxEncoder
from limbeck.training.distil_text import (
    Distilled,
    TextSettings,
    distil_text,
    distil_to_images,
    lesson_of_texts,
    read_texts,
)
from tiny import write_pairs
from tiny_encoder import WORDS, pixel_encoder, write_pictures

SMALL = TextSettings(size=0.05, invented=200)
TEXTS = [f"{a} {b}" for a in WORDS for b in WORDS] + WORDS
Run = Callable[..., tuple[int, str, str]]


def distilled(teacher: DualEncoder, texts: list[str], settings: TextSettings = SMALL) -> Distilled:
    """The result from texts."""
    return distil_text(teacher, lesson_of_texts(teacher, texts, settings), settings)


@pytest.mark.parametrize("bits", [None, 16])
def test_the_space_stays_and_the_texts_are_near(bits: int | None) -> None:
    teacher = pixel_encoder(bits=bits)
    found = distilled(teacher, TEXTS)
    assert found.model.space_id == teacher.space_id
    assert found.model.towers["text"].backbone.config.kind == "static"
    assert found.cosine > 0.9
    one, other = (m.encode("text", TEXTS, "embeddings")[0] for m in (teacher, found.model))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.mean() > 0.9
    assert teacher.towers["text"].backbone.config.kind == "bag"  # the teacher itself is unchanged


def test_the_layers_after_the_backbone_come_nearer_to_the_teacher() -> None:
    teacher = pixel_encoder(bits=16)
    lesson = lesson_of_texts(teacher, TEXTS, SMALL)
    wanted = teacher.encode("text", TEXTS, "embeddings")[0]

    def error(settings: TextSettings) -> float:
        model = distil_text(teacher, lesson, settings).model
        assert model.space_id == teacher.space_id
        return float(np.square(model.encode("text", TEXTS, "embeddings")[0] - wanted).mean())

    fixed = replace(SMALL, fits_layers=False)
    assert torch.equal(
        distil_text(teacher, lesson, fixed).model.lift.head("text").weight, teacher.lift.head("text").weight
    )
    assert error(SMALL) < error(fixed)


def test_a_transformer_learns_the_same_texts(tmp_path: Path) -> None:
    teacher = pixel_encoder(bits=16)
    settings = TextSettings(kind="transformer", width=32, layers=1, invented=20, epochs=40)
    found = distilled(teacher, TEXTS, settings)
    assert found.cosine > 0.9
    assert found.model.towers["text"].backbone.dim == teacher.towers["text"].backbone.dim
    found.model.save(tmp_path / "m")
    found.model.save_onnx(tmp_path / "m")
    wanted = found.model.encode_text(TEXTS)
    assert np.array_equal(package.load(tmp_path / "m").encode_text(TEXTS), wanted)
    exported = OnnxEncoder.open(tmp_path / "m")
    assert exported is not None
    assert (exported.encode_text(TEXTS) == wanted).mean() > 0.99


@pytest.mark.parametrize("hidden", [[12], [3]])
def test_a_trunk_stays_where_it_does_not_narrow(hidden: list[int]) -> None:
    base = pixel_encoder()
    torch.manual_seed(0)
    text = Tower(TowerConfig(backbone=BagConfig(), hidden=hidden), "text")
    text.fit(WORDS * 3, seed=0)
    lift = build_lift(SphereConfig(dim=8), {"image": 16, "text": hidden[0]})
    found = distilled(DualEncoder(base.towers["image"], text, lift).eval(), TEXTS).model
    tower = found.towers["text"]
    assert tower.backbone.dim == (4 if hidden == [12] else 3)
    assert tower.config.hidden == ([12] if hidden == [12] else [])
    assert found.encode_text(["red"]).shape == (1, 8)


def test_the_index_of_the_teacher_answers_through_it(run: Run, tmp_path: Path) -> None:
    pixel_encoder(bits=16).save(tmp_path / "teacher")
    write_pictures(tmp_path / "photos", range(12))
    (tmp_path / "texts.txt").write_text("\n".join([*TEXTS, "zzz"]))
    index, small = tmp_path / "index", tmp_path / "small"
    assert run("index", "build", tmp_path / "photos", "--model", tmp_path / "teacher", "--out", index)[0] == 0
    before = np.concatenate(IndexStore.open(index).points)
    words = ("distil-text", tmp_path / "teacher", tmp_path / "texts.txt", "--size", 0.05, "--invented", 100)
    status, out, err = run(*words, "--out", small)
    assert status == 0, err
    assert "cosine 0.9" in out
    assert "1 texts were left out" in err
    assert run("index", "encoder", index, "--model", small)[0] == 0
    assert np.array_equal(np.concatenate(IndexStore.open(index).points), before)
    status, out, err = run("search", index, "dark red", "-k", 3)
    assert status == 0, err
    asked = package.Index.open(index).encode(["dark red"])
    assert np.array_equal(asked, package.load(small).encode_text(["dark red"]))
    assert run(*words, "--out", small)[0] == 1  # it exists


def test_captions_lead_to_the_pictures_they_describe(tmp_path: Path) -> None:
    pairs = Pairs.open(write_pairs(tmp_path))
    torch.manual_seed(0)
    towers = {
        "image": Tower(TowerConfig(backbone=FeaturesConfig(name="cnn")), "image"),
        "text": Tower(TowerConfig(backbone=BagConfig()), "text"),
    }
    towers["image"].fit(pairs.features("cnn"), seed=0)
    towers["text"].fit([text for own in pairs.captions for text in own], seed=0)
    dims = {modality: tower.dim for modality, tower in towers.items()}
    rows = np.arange(0, 80, 2)
    for config in (SphereConfig(dim=8), HashConfig(bits=8)):
        teacher = DualEncoder(towers["image"], towers["text"], build_lift(config, dims)).eval()
        found = distil_to_images(teacher, pairs, rows, SMALL)
        assert found.model.space_id == teacher.space_id
        assert found.cosine > 0.5
        pictures = teacher.encode("image", pairs.features("cnn", rows), "embeddings")[0]
        texts = found.model.encode("text", [pairs.captions[row][0] for row in rows], "embeddings")[0]
        own = (pictures * texts).sum(1).mean()
        assert own > (pictures @ texts.T).mean() + 0.2
    polar = DualEncoder(towers["image"], towers["text"], build_lift(PolarConfig(dim=8), dims)).eval()
    with pytest.raises(LimbeckError, match="cannot reach the points of lift polar"):
        distil_to_images(polar, pairs, rows, SMALL)


def test_what_cannot_be_distilled_is_refused(run: Run, tmp_path: Path) -> None:
    teacher = pixel_encoder()
    with pytest.raises(LimbeckError, match="knows no word of the 2 texts"):
        distilled(teacher, ["zzz", "yyy", "zzz"])
    with pytest.raises(LimbeckError, match="needs at least two different texts"):
        distilled(teacher, ["red"], TextSettings(invented=0))
    with pytest.raises(LimbeckError, match=r"--size 0.001: is too small for width 4; .* 0.01"):
        distilled(teacher, TEXTS, TextSettings(size=0.001))
    labels = Tower(TowerConfig(backbone=MultiHotConfig()), "text")
    labels.fit([["a"], ["b"]], seed=0)
    lift = build_lift(SphereConfig(dim=8), {"image": 16, "text": 2})
    with pytest.raises(LimbeckError, match="reads labels, not texts"):
        distilled(DualEncoder(teacher.towers["image"], labels, lift), ["a"])
    (tmp_path / "empty.txt").write_text(" \n\n")
    for words, said in (
        ((tmp_path / "empty.txt",), "contains no text; write one per line [E-FILE-EMPTY]"),
        ((tmp_path / "no.txt",), "no such file"),
        ((tmp_path / "empty.txt", "--to", "sound"), "choose text or image [E-OPTION-CHOICE]"),
        ((tmp_path / "empty.txt", "--kind", "bag"), "choose static or transformer [E-OPTION-CHOICE]"),
        ((tmp_path / "empty.txt", "--width", 40), "--width 40: give a multiple of 32 [E-OPTION-RANGE]"),
    ):
        status, _, err = run("distil-text", tmp_path / "teacher", *words, "--out", tmp_path / "small")
        assert status == 1
        assert said in err
        assert len(err.splitlines()) == 1


def test_texts_of_a_pairs_directory(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path, rows=10)
    assert len(read_texts(pairs, None)) > 3 * len(Pairs.open(pairs).split_rows("train"))
    with pytest.raises(LimbeckError, match="no split 'odd'"):
        read_texts(pairs, "odd")


def test_a_sentence_encoder_lends_its_words(tmp_path: Path) -> None:
    from hub_models import write_bert

    base = pixel_encoder()
    text = Tower(TowerConfig(backbone=SentenceConfig(source=str(write_bert(tmp_path / "bert")))), "text")
    text.fit(["red cats", "a dog", "cat"], seed=0)
    lift = build_lift(SphereConfig(dim=8), {"image": 16, "text": 12})
    teacher = DualEncoder(base.towers["image"], text, lift).eval().requires_grad_(False)
    found = distilled(teacher, ["red cats", "a dog", "dog", "red dog"])
    assert found.model.space_id == teacher.space_id
    found.model.check_query("red")
