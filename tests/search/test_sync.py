"""`limbeck index sync`: what is new or changed is encoded, what is gone leaves on request, in one commit."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest

import limbeck
from limbeck.index.file_state import COLUMN, FileState
from limbeck.index.manifest import newest_manifest
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.search.encoders import query_encoder
from limbeck.search.sync import Synced, sync_folder
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures


@pytest.fixture(scope="module")
def encoder():
    return pixel_encoder(bits=16)


@pytest.fixture
def photos(tmp_path):
    write_pictures(tmp_path / "photos/old", range(6))
    write_pictures(tmp_path / "photos/more", range(6, 8))
    return tmp_path / "photos"


@pytest.fixture
def index(photos, encoder, tmp_path):
    return limbeck.Index.build(tmp_path / "ix", photos, model=encoder, embeddings=True).store.path


@pytest.fixture
def encoded(monkeypatch):
    """The pictures that were opened to be encoded."""
    from limbeck.encoding import PictureFolder

    seen: list[str] = []
    real = PictureFolder.open_image

    def counting(self, row):
        seen.append(self.ids([row])[0])
        return real(self, row)

    monkeypatch.setattr(PictureFolder, "open_image", counting)
    return seen


def facts(index, photos, encoder):
    """The index holds each picture of the folder once, with the point of its present content."""
    store = IndexStore.open(index)
    items = [item for item in store.metadata(range(store.rows))]
    alive = np.ones(store.rows, bool) if store.alive is None else store.alive
    held = {item["id"]: row for row, item in enumerate(items) if alive[row]}
    for name, row in held.items():
        if (photos / name).exists():
            np.testing.assert_array_equal(store.point(row), encoder.encode_image([photos / name]))
            state = FileState.from_json(items[row][COLUMN])
            about = (photos / name).stat()
            assert (state.size, state.mtime_ns) == (about.st_size, about.st_mtime_ns), name
    assert store.verify()
    return set(held)


def test_nothing_to_do_encodes_and_writes_nothing(index, photos, encoder, encoded):
    before = newest_manifest(index).generation
    assert sync_folder(index, photos) == Synced(0, 0, 8, [], False, 0, 0)
    assert encoded == [] and newest_manifest(index).generation == before
    assert len(facts(index, photos, encoder)) == 8


def test_new_changed_touched_and_gone(run, index, photos, encoder, encoded):
    write_pictures(photos / "new/deep", range(20, 22))
    write_pictures(photos / "other", range(30, 31))
    (photos / "other/0030.png").replace(photos / "old/0001.png")  # other content
    (photos / "other").rmdir()
    os.utime(photos / "old/0002.png", ns=(1, 1))  # another time, the same content
    (photos / "old/0003.png").unlink()
    (photos / "more/0006.png").unlink()
    before = newest_manifest(index).generation
    status, out, err = run("index", "sync", index, photos)
    assert status == 0, err
    assert "2 new, 1 changed, 5 unchanged, 2 missing (kept in the index; --remove removes them)" in out
    assert "missing more/0006.png" in err and "missing old/0003.png" in err
    assert sorted(encoded) == ["new/deep/0020.png", "new/deep/0021.png", "old/0001.png"]
    assert newest_manifest(index).generation == before + 1
    names = {f"old/000{i}.png" for i in range(6)} | {"more/0006.png", "more/0007.png"}
    names |= {"new/deep/0020.png", "new/deep/0021.png"}
    assert facts(index, photos, encoder) == names
    # the other time is noted, so that the next sync reads no file
    encoded.clear()
    status, out, _ = run("index", "sync", index, photos, "--remove")
    assert status == 0 and "0 new, 0 changed, 8 unchanged, 2 missing (removed)\n" in out and encoded == []
    assert facts(index, photos, encoder) == names - {"old/0003.png", "more/0006.png"}
    assert "file_state" not in limbeck.Index.open(index).item("old/0001.png").metadata


def test_one_commit_takes_and_removes(index, photos, encoder):
    write_pictures(photos / "new", range(20, 21))
    (photos / "old/0003.png").unlink()
    before = newest_manifest(index).generation
    found = sync_folder(index, photos, remove=True)
    assert (found.new, found.gone, found.removed) == (1, ["old/0003.png"], True)
    assert newest_manifest(index).generation == before + 1
    assert len(facts(index, photos, encoder)) == 8


def test_a_part_of_the_folder_leaves_the_rest_alone(index, photos, encoder):
    (photos / "old/0003.png").unlink()
    (photos / "more/0006.png").unlink()
    write_pictures(photos / "more", range(9, 10))
    found = sync_folder(index, photos / "more", remove=True)
    assert found == Synced(1, 0, 1, ["more/0006.png"], True, 0, 0)
    assert "old/0003.png" in facts(index, photos, encoder)


def test_pictures_that_cannot_be_read_are_named_and_the_others_taken(run, index, photos, encoder):
    (photos / "old/bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    (photos / "old/0001.png").write_bytes((photos / "old/bad.png").read_bytes())  # was one before
    status, out, err = run("index", "sync", index, photos, "--remove")
    assert status == 0 and "0 new, 0 changed, 7 unchanged, 0 missing" in out
    assert "skipped old/bad.png" in err and "skipped old/0001.png" in err and "2 item(s) skipped" in err
    assert limbeck.Index.open(index).item("old/0001.png").id == "old/0001.png"
    # nothing of it was noted as read: the mended picture is taken
    write_pictures(photos / "other", range(30, 31))
    (photos / "other/0030.png").replace(photos / "old/0001.png")
    assert sync_folder(index, photos).changed == 1
    (photos / "old/bad.png").unlink()
    (photos / "other").rmdir()
    assert len(facts(index, photos, encoder)) == 8


def test_an_interrupted_sync_changes_nothing(index, photos, encoder, monkeypatch):
    write_pictures(photos / "new", range(20, 26))
    before = newest_manifest(index)
    from limbeck.encoding import PictureFolder

    real, calls = PictureFolder.items, []

    def stopping(self, rows):
        calls.append(rows)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, rows)

    with monkeypatch.context() as patched:
        patched.setattr(PictureFolder, "items", stopping)
        with pytest.raises(KeyboardInterrupt):
            sync_folder(index, photos, batch_size=2)
    assert newest_manifest(index) == before
    assert sync_folder(index, photos, batch_size=2).new == 6
    assert len(facts(index, photos, encoder)) == 14


def test_a_file_changed_while_it_is_read_counts_as_changed_next_time(index, photos, encoder, monkeypatch):
    write_pictures(photos / "new", range(20, 21))
    write_pictures(photos / "other", range(31, 32))
    import limbeck.encoding.sources as sources

    real = sources.state_after

    def changed_meanwhile(path, before):
        if path.name == "0020.png":
            (photos / "other/0031.png").replace(path)
        return real(path, before)

    (photos / "keep").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(sources, "state_after", changed_meanwhile)
        found = sync_folder(index, photos / "new")
    assert found.new == 1
    again = sync_folder(index, photos / "new")
    assert (again.changed, again.unrecorded) == (1, 1)
    (photos / "other").rmdir()
    assert len(facts(index, photos, encoder)) == 9


def test_an_index_that_noted_nothing_is_encoded_once_more(photos, encoder, tmp_path):
    """As version 0.1 wrote it: ids and paths alone."""
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    table = pa.table({"id": pa.array(names), "path": pa.array(names)})
    points = np.zeros((8, 2), np.uint8)  # not theirs
    meta = StoreMeta(
        encoder.space, encoder.space_id, media_root=str(photos.resolve()), encoders=[query_encoder(encoder)]
    )
    IndexStore.build(tmp_path / "old", [(points, table)], meta)
    found = sync_folder(tmp_path / "old", photos)
    assert (found.changed, found.unrecorded, found.unchanged) == (8, 8, 0)
    assert len(facts(tmp_path / "old", photos, encoder)) == 8
    assert sync_folder(tmp_path / "old", photos).unchanged == 8


def test_what_is_no_folder_of_the_index_is_refused(run, index, photos, encoder, tmp_path):
    write_pictures(tmp_path / "elsewhere", range(2))
    (tmp_path / "empty").mkdir()
    for given, message in [
        (tmp_path / "elsewhere", "its paths are relative to"),
        (tmp_path / "empty", "holds no pictures"),
        (tmp_path / "missing", "no such directory"),
    ]:
        status, _, err = run("index", "sync", index, given)
        assert status == 1 and message in err, err
    # pictures that a table named stand under other ids
    table = pa.table({"id": ["first"], "path": ["old/0000.png"]})
    meta = StoreMeta(encoder.space, encoder.space_id, media_root=str(photos.resolve()))
    IndexStore.build(tmp_path / "named", [(np.zeros((1, 2), np.uint8), table)], meta)
    with raises_code("E-ID-EXISTS", "'old/0000.png'", "'first'"):
        sync_folder(tmp_path / "named", photos)
    # a grown folder: index add names the verb
    write_pictures(photos / "new", range(20, 21))
    status, _, err = run("index", "add", index, photos)
    assert status == 1 and f"limbeck index sync {index} {photos} encodes only what is new or changed" in err
