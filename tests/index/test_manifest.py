from __future__ import annotations

import json

import pytest
from helpers_index import build

from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.index.manifest import generations, manifest_path, newest_manifest, publish
from limbeck.index.store import IndexStore
from raising import raises_code


def rewrite(path, **changes):
    """Change a manifest and give it a right checksum again."""
    value = json.loads(path.read_text())
    value.update(changes)
    value.pop("checksum")
    path.write_text(json.dumps({**value, "checksum": sha256_json(value)}))


def test_the_highest_generation_wins_by_number_not_by_name(tmp_path):
    first = build(tmp_path / "i").manifest
    from dataclasses import replace

    for generation in (2, 9, 10):
        publish(tmp_path / "i", replace(first, generation=generation))
    assert generations(tmp_path / "i") == [1, 2, 9, 10]
    assert newest_manifest(tmp_path / "i").generation == 10
    assert not list((tmp_path / "i").glob("*.tmp"))


def test_one_generation_is_published_once(tmp_path):
    manifest = build(tmp_path / "i").manifest
    before = manifest_path(tmp_path / "i", 1).read_bytes()
    with raises_code("E-INDEX-LOCKED", "manifest-1.json:"):
        publish(tmp_path / "i", manifest)
    assert manifest_path(tmp_path / "i", 1).read_bytes() == before
    assert not list((tmp_path / "i").glob(".manifest*"))


@pytest.mark.parametrize("damage", ["truncate", "edit", "empty", "list"])
def test_a_damaged_newest_manifest_is_an_error_not_the_older_state(tmp_path, damage):
    build(tmp_path / "i", 10)
    build(tmp_path / "i", 20, replace=True)
    path = manifest_path(tmp_path / "i", 2)
    text = path.read_text()
    changed = {
        "truncate": text[:-20],
        "edit": text.replace('"rows": 20', '"rows": 10'),
        "empty": "",
        "list": "[1]",
    }
    path.write_text(changed[damage])
    with pytest.raises(LimbeckError, match=r"manifest-2\.json: "):
        IndexStore.open(tmp_path / "i")


def test_a_damaged_index_can_be_built_anew(tmp_path):
    build(tmp_path / "i", 10)
    manifest_path(tmp_path / "i", 1).write_text("{")
    assert len(build(tmp_path / "i", 12, replace=True)) == 12


def test_a_newer_format_is_refused_by_its_minimum_reader(tmp_path):
    build(tmp_path / "i")
    path = manifest_path(tmp_path / "i", 1)
    rewrite(path, format=3, a_later_field=3)
    assert len(IndexStore.open(tmp_path / "i")) == 50
    rewrite(path, min_reader=3)
    with raises_code("E-FILE-VERSION", "format 3", "reader 3"):
        IndexStore.open(tmp_path / "i")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generation": 7}, ("E-INDEX-DAMAGED", "generation 7")),
        ({"segments": [{"name": "x"}]}, ("E-FILE-FIELD", "'rows'")),
        ({"files": {"../../etc/passwd": {"size": 1, "sha256": ""}}}, ("E-INDEX-DAMAGED", "leaves the index")),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": ""}}}, ("E-INDEX-DAMAGED", "leaves the index")),
        ({"segments": [{"name": "../../x", "rows": 1}]}, ("E-INDEX-DAMAGED", "leaves the index")),
        (
            {"encoders": [{"name": "../x", "space_id": "", "modalities": {}}]},
            ("E-INDEX-DAMAGED", "leaves the index"),
        ),
        ({"tombstones": ["tombstones/x.npy"]}, ("E-FILE-FIELD", "'tombstones/x.npy'")),
        (
            {"tombstones": [{"name": "../x.npy", "segment": "x", "rows": 1}]},
            ("E-INDEX-DAMAGED", "leaves the index"),
        ),
        ({"segments": [{"name": "x", "rows": 2**63}]}, ("E-FILE-FIELD", "64 bits")),
        ({"segments": [{"name": "x", "rows": True}]}, ("E-FILE-FIELD", "segments[0].rows is True, not int")),
        ({"segments": [{"name": "a\x00b", "rows": 1}]}, ("E-INDEX-DAMAGED", "leaves the index")),
        ({"segments": [{"name": "x", "rows": 1}]}, ("E-INDEX-DAMAGED", "names no files of segments/x")),
        (
            {"files": {"segments/x/a": {"size": -1, "sha256": ""}}, "segments": [{"name": "x", "rows": 1}]},
            ("E-INDEX-DAMAGED", "negative"),
        ),
        ({"media_root": ["/"]}, ("E-FILE-FIELD", "media_root")),
        ({"schema": [["id"]]}, ("E-INDEX-DAMAGED", "its schema is not a list of names and types")),
        ({"space": {"name": ["hamming"]}}, ("E-SPACE-FORM", "space:")),
        ({"space": {"name": "klein"}}, ("E-SPACE-FORM", "'klein'")),
        ({"space": {"name": "hamming", "bits": 32}}, ("E-INDEX-DAMAGED", "uint8")),
    ],
)
def test_manifests_that_make_no_sense(tmp_path, changes, message):
    build(tmp_path / "i")
    rewrite(manifest_path(tmp_path / "i", 1), **changes)
    with raises_code(*message):
        IndexStore.open(tmp_path / "i")


def test_what_is_no_index(tmp_path):
    with raises_code("E-INDEX-MISSING", "nothing:"):
        IndexStore.open(tmp_path / "nothing")
    (tmp_path / "segments").mkdir()
    with pytest.raises(LimbeckError, match=r"is not an index, .* restore that file, or build"):
        IndexStore.open(tmp_path)
