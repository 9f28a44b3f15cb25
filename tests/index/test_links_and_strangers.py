"""An index writer touches nothing that is not an index's: foreign files, links that lead outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers_index import build, codes, items

from limbeck.errors import LimbeckError
from limbeck.index import garbage
from limbeck.index.add import add_batches
from limbeck.index.ann_index import remove_derived, write_derived
from limbeck.index.calibration import build_engine
from limbeck.index.compact import compact_index
from limbeck.index.encoder import replace_encoder
from limbeck.index.export import export_index
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import EncoderSource, StoreMeta
from limbeck.spaces import Hamming
from raising import raises_code

HEX = "0123456789abcdef" * 2


def tree(root: Path) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        link = path.is_symlink()
        found[name] = str(path.readlink()) if link else path.read_bytes() if path.is_file() else None
    return found


def encoder(text: str) -> EncoderSource:
    return EncoderSource(lambda folder: (folder / "model.json").write_text(text), "space", {"text": "text"})


META = StoreMeta(Hamming(16), "space", encoders=[encoder("one")])


# ------------------------------------------------------------------ D2: folders of the same names
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        ["segments/mine.txt"],
        ["encoders/mine/deep/a.bin"],
        ["tombstones/mine.npy"],
        ["derived/notes/a.txt"],
        [f"segments/{HEX}/mine.txt"],
        [f"segments/{HEX}/points.npy"],  # without the lock that a writer takes first
        [f"segments/{HEX}/mine.txt", "writer.lock"],
        ["segments/a/b", "encoders/c", "writer.lock"],
        [f"tombstones/{HEX}.txt", "writer.lock"],
    ],
)
def test_folders_that_are_no_indexs_stay(tmp_path, names, replace):
    for name in names:
        (tmp_path / "proj" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "proj" / name).write_bytes(name.encode())
    before = tree(tmp_path)
    with pytest.raises(LimbeckError, match=r"proj: holds .*, so it is not an index"):
        build(tmp_path / "proj", 3, meta=META, replace=replace)
    assert tree(tmp_path) == before


def test_a_refused_build_changes_nothing_where_it_was_to_stand(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new/deep/i"):
        with raises_code("E-ID-REPEATED", "items:"):
            IndexStore.build(path, [(codes(2), {"id": ["a", "a"]})], StoreMeta(Hamming(16)))
    assert tree(tmp_path) == {"empty": None}


@pytest.mark.parametrize(
    "name", ["segments/mine.txt", "encoders/mine/a", "tombstones/x.npy", "derived/.x.tmp/a"]
)
def test_files_that_a_user_put_into_an_index_are_no_garbage(tmp_path, monkeypatch, name):
    build(tmp_path / "i", 12, meta=META)
    (tmp_path / "i" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "i" / name).write_bytes(b"mine")
    write_derived(IndexStore.open(tmp_path / "i"), "mih")
    monkeypatch.setattr(garbage, "MIN_AGE_SECONDS", -1.0)
    for change in changes(tmp_path / "i"):
        change()
    assert (tmp_path / "i" / name).read_bytes() == b"mine"
    assert len(IndexStore.open(tmp_path / "i")) == 7


def changes(path: Path):
    """Every kind of change, one after another; each collects garbage."""
    yield lambda: add_batches(path, [(codes(5, seed=1), items(5, 12))], META)
    yield lambda: remove_items(path, ["id-3"])
    yield lambda: replace_encoder(path, encoder("two"))
    yield lambda: remove_items(path, [f"id-{i}" for i in range(4, 11)])
    yield lambda: compact_index(path)
    yield lambda: build(path, 7, meta=META, replace=True)


# ------------------------------------------------------------------ D3: links
LINKS = ["segments", "encoders", "tombstones", "derived", "writer.lock", "writer.holder"]
VERBS = {
    "add": lambda path: add_batches(path, [(codes(5, seed=1), items(5, 12))], META),
    "remove": lambda path: remove_items(path, ["id-3"]),
    "encoder": lambda path: replace_encoder(path, encoder("two")),
    "compact": lambda path: compact_index(path),
    "build over": lambda path: build(path, 7, meta=META, replace=True),
}


@pytest.fixture
def linked(tmp_path, monkeypatch):
    """An index with removed rows and an engine, and a maker of links in it to files outside."""
    monkeypatch.setattr(garbage, "MIN_AGE_SECONDS", -1.0)
    build(tmp_path / "i", 12, meta=META)
    remove_items(tmp_path / "i", ["id-5"])
    write_derived(IndexStore.open(tmp_path / "i"), "mih")

    def link(name: str) -> Path:
        place, outside = tmp_path / "i" / name, tmp_path / "outside"
        outside.mkdir()
        if place.is_dir():
            shutil.copytree(place, outside / "it")
            shutil.rmtree(place)
            (outside / "it/mine.txt").write_text("mine")
        else:
            place.unlink(missing_ok=True)
            (outside / "it").write_text("mine")
        for file in outside.rglob("*"):
            os.utime(file, (0, 0))
        place.symlink_to(outside / "it")
        return tmp_path / "i"

    return link


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", LINKS)
def test_no_verb_writes_or_removes_through_a_link(tmp_path, linked, name, verb):
    path = linked(name)
    before = tree(tmp_path)
    with raises_code("E-PATH-KIND", name):
        VERBS[verb](path)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("verb", VERBS)
def test_links_one_level_deeper(tmp_path, linked, verb):
    """A segment, an encoder, the tombstone to come and an engine as links."""
    manifest = IndexStore.open(tmp_path / "i").manifest
    segment, own = manifest.segments[0].name, manifest.encoders[0].name
    outside = tmp_path / "outside"
    for name in (f"segments/{segment}", f"encoders/{own}", f"tombstones/{segment}-3.npy", "derived/mih"):
        path = linked(name)
        before = tree(tmp_path)
        with pytest.raises(LimbeckError, match="a link"):
            VERBS[verb](path)
        assert tree(tmp_path) == before
        place = path / name
        place.unlink()
        if (outside / "it").is_dir():
            (outside / "it/mine.txt").unlink()
            shutil.copytree(outside / "it", place)
        shutil.rmtree(outside)


@pytest.mark.parametrize("name", ["derived", "derived/mih", "derived/writer.lock", "derived/writer.holder"])
def test_engines_are_not_built_or_removed_through_a_link(tmp_path, linked, name):
    path = linked(name)
    before = tree(tmp_path)
    for verb in (
        lambda: write_derived(IndexStore.open(path), "mih"),
        lambda: build_engine(IndexStore.open(path), "mih", {}),
        lambda: remove_derived(path, "mih"),
    ):
        with pytest.raises(LimbeckError, match="a link"):
            verb()
        assert tree(tmp_path) == before


def test_an_engine_folder_with_foreign_files_is_not_replaced_or_removed(tmp_path):
    build(tmp_path / "i", 12)
    write_derived(IndexStore.open(tmp_path / "i"), "mih")
    (tmp_path / "i/derived/mih/thesis.docx").write_text("mine")
    before = tree(tmp_path)
    for verb in (
        lambda: write_derived(IndexStore.open(tmp_path / "i"), "mih"),
        lambda: remove_derived(tmp_path / "i", "mih"),
    ):
        with raises_code("E-PATH-EXISTS", "thesis.docx"):
            verb()
    after = {name: content for name, content in tree(tmp_path).items() if "writer" not in name}
    assert after == {name: content for name, content in before.items() if "writer" not in name}


# ------------------------------------------------------------------ without hard links; odd cells
def test_every_change_without_hard_links_and_directory_sync(tmp_path, monkeypatch):
    """exFAT: each change is there afterwards, and no temporary file."""
    from limbeck.files import durability

    def no_link(*_):
        raise PermissionError(1, "Operation not permitted")

    real = os.fsync

    def no_directory_sync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(durability, "renamer", lambda: None)
    if Path("/proc/self/fd").is_dir():
        monkeypatch.setattr(os, "fsync", no_directory_sync)
    build(tmp_path / "i", 12, meta=META)
    sizes = []
    for change in changes(tmp_path / "i"):
        change()
        store = IndexStore.open(tmp_path / "i")
        store.verify()
        sizes.append(len(store))
    assert sizes == [17, 16, 16, 9, 9, 7]
    assert not list((tmp_path / "i").glob(".*"))


def test_an_export_into_the_index_is_refused(tmp_path):
    build(tmp_path / "i", 3)
    before = tree(tmp_path)
    with raises_code("E-PATH-OVERLAP", "out.parquet:"):
        export_index(tmp_path / "i", tmp_path / "i/segments/out.parquet")
    assert tree(tmp_path) == before


def test_times_that_python_cannot_hold_are_read(tmp_path):
    import pyarrow as pa

    table = pa.table(
        {
            "id": ["a"],
            "taken": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            "zoned": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "Europe/Berlin")),
            "far": pa.array([10**17], pa.timestamp("s")),
            "span": pa.array([1_000_000_001], pa.duration("ns")),
        }
    )
    store = IndexStore.build(tmp_path / "i", [(codes(1), table)], StoreMeta(Hamming(16)))
    assert store.metadata([0])[0] == {
        "id": "a",
        "taken": "2023-11-14T22:13:20.123456789",
        "zoned": "2023-11-14T22:13:20.123456789Z",
        "far": "3168875820-09-06T09:46:40",
        "span": np.timedelta64(1_000_000_001, "ns"),
    }
