"""An index that is held while others write, and one whose files this user may not read or write."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from test_search_api import feature_model, pairs  # noqa: F401  fixtures

import limbeck
from limbeck.index import garbage
from limbeck.index.ann_index import write_derived
from limbeck.index.store import IndexStore, verify_index
from limbeck.search import replace_query_encoder
from raising import raises_code


def with_other_text(model, number: int):
    """The same image side; the text side differs by the scale of its counts, so that its files differ."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.towers["text"].backbone.scale.mul_(1 + number)
    return other


@pytest.fixture
def swept(monkeypatch):
    """Files of older generations go at once, not after an hour."""
    monkeypatch.setattr(garbage, "MIN_AGE_SECONDS", -1.0)


def test_a_held_index_answers_after_its_encoder_was_replaced_and_removed(
    pairs, feature_model, tmp_path, swept  # noqa: F811
):  # fmt: skip
    limbeck.Index.build(tmp_path / "ix", pairs, model=feature_model)
    held = limbeck.Index.open(tmp_path / "ix")
    first = held.store.encoder_for("text")[0]
    for number in (1, 2, 3):
        replace_query_encoder(tmp_path / "ix", with_other_text(feature_model, number))
    assert not first.exists()
    now = limbeck.Index.open(tmp_path / "ix").search("red", k=5)
    assert held.search("red", k=5) == now and len(now) == 5


def test_a_held_index_built_anew_with_another_model_says_so(
    pairs, feature_model, tmp_path, swept  # noqa: F811
):  # fmt: skip
    limbeck.Index.build(tmp_path / "ix", pairs, model=feature_model)
    held = limbeck.Index.open(tmp_path / "ix")
    other = copy.deepcopy(feature_model)
    with torch.no_grad():
        other.towers["image"].backbone.mean.add_(1)
    for _ in range(3):
        limbeck.Index.build(tmp_path / "ix", pairs, model=other, replace=True)
    with raises_code("E-INDEX-OTHER-MODEL", "ix:"):
        held.search("red", k=5)
    # without a newer state the damage itself is told
    folder = limbeck.Index.open(tmp_path / "ix").store.encoder_for("text")[0]
    fresh = limbeck.Index.open(tmp_path / "ix")
    (folder / "model.safetensors").unlink()
    with raises_code("E-INDEX-DAMAGED", "model.safetensors"):
        fresh.search("red", k=5)


@pytest.fixture
def codes(tmp_path):
    points = np.random.default_rng(0).integers(0, 256, (50, 8), dtype=np.uint8)
    limbeck.Index.build(tmp_path / "ix", points, items={"id": [f"i{i}" for i in range(50)]})
    return tmp_path / "ix"


def refuse(monkeypatch, owner, name, ending):
    """The system refuses to let this user read or write paths of an ending."""
    real = getattr(owner, name)

    def refusing(path, *args, **options):
        if str(path).endswith(ending):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(owner, name, refusing)


def test_what_may_not_be_read_is_one_line(codes, monkeypatch):
    with monkeypatch.context() as patched:
        refuse(patched, Path, "read_text", "manifest-1.json")
        with raises_code("E-PATH-READ", "manifest-1.json"):
            IndexStore.open(codes)
    with monkeypatch.context() as patched:
        refuse(patched, Path, "iterdir", "ix")
        with raises_code("E-PATH-READ", "ix:"):
            IndexStore.open(codes)
    for name in ("points.npy", "items.arrow", "id_hash.npy"):
        with monkeypatch.context() as patched:
            refuse(patched, Path, "stat", name)
            for verb in (IndexStore.open, verify_index):
                with raises_code("E-PATH-READ", name):
                    verb(codes)


def test_what_may_not_be_written_is_one_line(codes, monkeypatch):
    before = sorted(path.relative_to(codes) for path in codes.rglob("*"))
    refuse(monkeypatch, os, "mkdir", "derived")
    with raises_code("E-PATH-WRITE", "derived:"):
        write_derived(IndexStore.open(codes), "mih")
    refuse(monkeypatch, os, "open", "writer.lock")
    with raises_code("E-PATH-WRITE", "ix:"):
        limbeck.Index.open(codes).remove(["i3"])
    assert sorted(path.relative_to(codes) for path in codes.rglob("*")) == before
