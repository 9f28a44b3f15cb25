"""What an index is after a power cut: at every moment of every change, with what was not synced dropped."""

from __future__ import annotations

import pytest
from helpers_index import build, codes, items
from recorded_disk import Recorder

from limbeck.errors import LimbeckError
from limbeck.index import garbage
from limbeck.index.add import add_batches
from limbeck.index.compact import compact_index
from limbeck.index.encoder import replace_encoder
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import EncoderSource, StoreMeta
from limbeck.spaces import Hamming
from raising import raises_code


def write_encoder(text):
    def write(folder):
        (folder / "text").mkdir()
        (folder / "text/words.txt").write_text(text)
        (folder / "model.json").write_text(text)

    return EncoderSource(write, "space", {"text": "text"})


META = StoreMeta(Hamming(16), "space", encoders=[write_encoder("one")])


def state(path):
    """Everything that a reader finds, or "nothing"; damage is an error."""
    try:
        store = IndexStore.open(path)
    except LimbeckError as error:
        if "no such index" in str(error) or "is not an index" in str(error):
            return "nothing"
        raise
    store.verify()
    found = {}
    for points, table in store.live_batches():
        found |= {key: point.tobytes() for key, point in zip(table["id"].to_pylist(), points, strict=True)}
    folder = store.encoder_for("text")[0]
    return found, (folder / "text/words.txt").read_text(), (folder / "model.json").read_text()


def changes(path):
    """Every kind of change, one after another."""
    yield lambda: build(path, 12, meta=META)
    yield lambda: remove_items(path, ["id-3"])
    yield lambda: add_batches(path, [(codes(5, seed=1), items(5, 12))], META)
    yield lambda: add_batches(path, [(codes(3, seed=2), {"id": ["id-1", "id-13", "x"]})], META, replace=True)
    yield lambda: replace_encoder(path, write_encoder("two"))
    yield lambda: remove_items(path, [f"id-{i}" for i in range(4, 11)])  # rewrites a segment
    yield lambda: compact_index(path)
    yield lambda: build(path, 7, meta=META, replace=True)


@pytest.mark.parametrize("aged", [False, True], ids=["young leftovers", "all leftovers are old"])
def test_each_moment_opens_at_the_last_acknowledged_state_or_the_next(tmp_path, monkeypatch, aged):
    if aged:  # so that files of older generations are removed as well
        monkeypatch.setattr(garbage, "MIN_AGE_SECONDS", -1.0)
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk/new/index"
    states = ["nothing"]
    with Recorder(tmp_path / "disk") as recorder:
        recorder.mark = "0"
        for number, change in enumerate(changes(path), start=1):
            change()
            states.append(number)
            recorder.mark = str(number)
            recorder.busy = True
            states[number] = state(path)
            recorder.busy = False
        recorder.event("acknowledged")
    assert len(states) == 9 and len({str(one) for one in states}) == 8  # compaction changes no answer
    seen, moments = set(), 0
    for moment, kind, disk in recorder.crashes(tmp_path / "crashed"):
        number = int(moment.mark)
        try:
            found = state(disk / "new/index")
        except LimbeckError as error:  # only before the very first manifest may anything be half there
            pytest.fail(f"{moment.event}, {kind}, after change {number}: {error}")
        allowed = states[number : number + 2]
        assert found in allowed, f"{moment.event}, {kind}, after change {number}"
        seen.add((number, allowed.index(found)))
        moments += 1
    assert {(number, 0) for number in range(8)} <= seen and {(number, 1) for number in range(8)} & seen
    assert moments > 150


def test_the_record_shows_a_missing_fsync(tmp_path, monkeypatch):
    """Without the fsync of the directory the acknowledged manifest is lost: the record must tell."""
    from limbeck.index import manifest, writer

    (tmp_path / "disk").mkdir()
    build(tmp_path / "disk/i", 12, meta=META)
    monkeypatch.setattr(manifest, "fsync_path", lambda path: None)
    with Recorder(tmp_path / "disk") as recorder:
        remove_items(tmp_path / "disk/i", ["id-3"])
        recorder.mark = "removed"
    lost = [
        len(state(disk / "i")[0])
        for moment, kind, disk in recorder.crashes(tmp_path / "crashed")
        if moment.mark and kind == "unsynced is lost"
    ]
    assert lost == [12]
    monkeypatch.undo()
    monkeypatch.setattr(writer, "fsync_path", lambda path: None)
    with Recorder(tmp_path / "disk") as recorder:
        add_batches(tmp_path / "disk/i", [(codes(2), {"id": ["a", "b"]})], META)
        recorder.mark = "added"
    with raises_code("E-INDEX-DAMAGED", "points.npy:"):
        for _, kind, disk in recorder.crashes(tmp_path / "crashed"):
            if kind == "unsynced is lost":
                state(disk / "i")
