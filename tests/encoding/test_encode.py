"""`limbeck encode`: tables, threads, what cannot be read, and going on after a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.cli import main
from limbeck.encoding import PictureFolder, TableSource, encode_source, open_source
from limbeck.encoding import parts as encode_parts
from limbeck.errors import LimbeckError
from limbeck.index.embeddings import embeddings_at
from limbeck.index.encoded import Encoded, read_skipped
from limbeck.index.lock import writer_lock
from limbeck.pictures.decoding import SourceDamaged, decoded_batches
from limbeck.search import add_items, open_rows
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures

pytestmark = pytest.mark.filterwarnings("ignore::limbeck.errors.InputNote")
N = 20


@pytest.fixture(scope="module")
def encoder():
    return pixel_encoder()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media") / "photos"
    write_pictures(folder, range(N))
    return folder


@pytest.fixture(scope="module")
def points(encoder, photos):
    return encoder.encode_image([photos / f"{i:04}.png" for i in range(N)])


# ------------------------------------------------------------------------------ tables
def table(photos: Path) -> pa.Table:
    names = [f"photos/{i:04}.png" for i in range(N)]
    return pa.table(
        {"id": [f"{i:03}" for i in range(N)], "file_name": names, "year": list(range(2000, 2000 + N))}
    )


def written(photos: Path, kind: str) -> Path:
    """The table of the pictures in one form, beside the folder."""
    rows, place = table(photos), photos.parent
    if kind == "shards":
        for number, start in enumerate(range(0, N, 8)):
            (place / "shards").mkdir(exist_ok=True)
            part = rows.slice(start, 8).set_column(
                1, "file_name", pa.array([f"../photos/{i:04}.png" for i in range(N)][start : start + 8])
            )
            pq.write_table(part, place / f"shards/{number}.parquet", row_group_size=3)
        return place / "shards"
    if kind == "embedded":
        content = [{"bytes": (photos / f"{i:04}.png").read_bytes(), "path": None} for i in range(N)]
        pq.write_table(
            rows.select(["year"]).append_column("image", pa.array(content)),
            place / "e.parquet",
            row_group_size=7,
        )
        return place / "e.parquet"
    file = place / f"table.{kind}"
    if kind == "parquet":
        pq.write_table(rows, file, row_group_size=6)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows.to_pylist()))
    else:
        mark = {"csv": ",", "tsv": "\t"}[kind]
        lines = [rows.column_names, *(map(str, row.values()) for row in rows.to_pylist())]
        file.write_text("".join(mark.join(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "shards", "embedded"])
def test_tables_of_every_form(encoder, photos, points, tmp_path, kind):
    encoded = encode_source(encoder, written(photos, kind), tmp_path / "e", batch_size=6)
    np.testing.assert_allclose(encoded.points, points, atol=1e-6)
    items = encoded.items()
    assert items.column("year").to_pylist() == list(range(2000, 2000 + N))
    if kind == "embedded":
        assert (
            items.column("id").to_pylist() == [f"e/{i}" for i in range(N)]
            and "path" not in items.column_names
        )
        assert encoded.meta.media_root is None
    else:
        assert items.column("id").to_pylist() == [f"{i:03}" for i in range(N)]  # "007" stays text
        assert (
            Path(encoded.meta.media_root) / items.column("path")[7].as_py()
        ).resolve() == photos / "0007.png"


def test_ids_are_paths_where_there_are_none(photos, tmp_path):
    file = photos.parent / "bare.csv"
    file.write_text("path,labels\nphotos/0001.png,a\n,b\n")
    source = open_source(file)
    assert isinstance(source, TableSource) and source.ids() == ["photos/0001.png", "bare/1"]
    assert source.ids([1]) == ["bare/1"]
    with raises_code("E-PICTURE-MISSING", "bare.csv", "line 3"):
        source.open_image(1)


def test_what_is_no_directory_is_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    for path, message in (
        (
            tmp_path / "x.zip",
            "x.zip: is a zip file, not a directory; unpack it, or import it with limbeck data",
        ),
        (Path(os.devnull), "a device, pipe or socket, not a directory; give a folder of pictures"),
        (tmp_path / "none", "none: there is no such directory; give a folder of pictures"),
    ):
        with pytest.raises(LimbeckError, match=message):
            open_source(path)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "name,year\nx,1\n", {}, "no column of pictures; columns are name, year; choose one with"),
        ("a.csv", "name,year\nx,1\n", {"image_column": "nam"}, "no column 'nam'; columns are name, year"),
        ("a.csv", "name,year\nx,1\n", {"image_column": "year"}, None),
        ("a.csv", "path\n", {}, "has no rows"),
        ("a.csv", "path,x\na,b,c\n", {}, "a.csv: line 2 has more fields than the header"),
        ("a.jsonl", "{\n", {}, "a.jsonl: line 1 is not JSON"),
        ("a.jsonl", '{"path": {"a": 3}}\n', {"image_column": "path"}, None),
        ("a.parquet", "no", {}, "a.parquet: is not readable as Parquet"),
        ("a.txt", "", {}, "a.txt: is a file, not a directory; give a folder of pictures"),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path, name, content, options, message):
    (tmp_path / name).write_text(content)
    if message is None:
        assert len(open_source(tmp_path / name, **options)) == 1
        return
    with pytest.raises(LimbeckError, match=message) as caught:
        open_source(tmp_path / name, **options)
    assert "\n" not in str(caught.value)


def test_shards_with_other_columns_are_named(tmp_path):
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"path": ["a"], "x": [1]}), tmp_path / "2.parquet")
    with raises_code("E-TABLE-COLUMN", "2.parquet", "1.parquet"):
        open_source(tmp_path)
    with raises_code("E-OPTION-UNUSED", "--image-column"):
        write_pictures(tmp_path / "p", range(1))
        open_source(tmp_path / "p", image_column="x")


def test_a_table_becomes_an_index_and_joins_one(encoder, photos, tmp_path):
    import limbeck

    file = written(photos, "csv")
    index = limbeck.Index.build(tmp_path / "i", file, model=encoder)
    hit = index.search(image=photos / "0007.png", k=1, where="year = 2007")[0]
    assert hit.id == "007" and index.picture(hit).size == (20, 30)
    with raises_code("E-ID-EXISTS", "20 ids"):
        add_items(index.store.path, file)
    assert open_rows(TableSource(file), encoder, None)[1].media_root == str(photos.parent)


# ------------------------------------------------------------------------------ threads
def test_threads_keep_order_and_fill_batches():
    started, lock = [], threading.Lock()

    def read(row):
        with lock:
            started.append(row)
        time.sleep(0.001 * (row % 3))
        if row % 5 == 0:
            raise LimbeckError(f"{row} is bad", code="E-FILE-DAMAGED")
        return row * 10

    steps = list(decoded_batches(range(47), read, 8, 4))
    good = [row for row in range(47) if row % 5]
    assert [row for step, _ in steps for row in step.rows] == good
    assert [value for _, ready in steps for value in ready] == [row * 10 for row in good]
    assert [len(ready) for _, ready in steps] == [8, 8, 8, 8, 5] and sum(step.seen for step, _ in steps) == 47
    assert [row for step, _ in steps for row, _ in step.failed] == list(range(0, 47, 5))
    started.clear()
    next(iter(decoded_batches(range(10_000), lambda row: started.append(row), 8, 2)))
    assert len(started) < 60  # memory stays bounded
    shard = SourceDamaged("shard", code="E-FILE-DAMAGED")
    with pytest.raises(SourceDamaged, match="shard"):
        list(decoded_batches(range(9), lambda row: (_ for _ in ()).throw(shard), 4))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_what_cannot_be_read_is_listed(encoder, photos, points, tmp_path):
    write_pictures(tmp_path / "p", range(5))
    for name in ("0001.png", "0003.png"):
        (tmp_path / "p" / name).write_bytes(b"no picture")
    encoded = encode_source(encoder, tmp_path / "p", tmp_path / "e", batch_size=2, workers=2)
    np.testing.assert_allclose(encoded.points, points[[0, 2, 4]], atol=1e-6)
    assert [entry["id"] for entry in read_skipped(tmp_path / "e")] == ["0001.png", "0003.png"]
    for file in (tmp_path / "p").iterdir():
        file.write_bytes(b"no picture")
    with raises_code("E-ENCODE-EMPTY", "5 items"):
        encode_source(encoder, tmp_path / "p", tmp_path / "f")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "p"]
    for options, message in (({"batch_size": 0}, "batch_size: 0"), ({"workers": 0}, "workers: 0")):
        with pytest.raises(LimbeckError, match=message):
            encode_source(encoder, photos, tmp_path / "g", **options)


def test_names_that_hold_line_separators_are_listed(encoder, photos, tmp_path):
    names = ["a\u2028b.png", "c\x85d.png", "e\nf.png"]
    (tmp_path / "p").mkdir()
    (tmp_path / "p/0.png").write_bytes((photos / "0000.png").read_bytes())
    for name in names:
        (tmp_path / "p" / name).write_text("broken")
    encode_source(encoder, tmp_path / "p", tmp_path / "e")
    assert sorted(entry["id"] for entry in read_skipped(tmp_path / "e")) == sorted(names)


def test_repeated_ids_of_a_table_are_refused_before_anything_is_encoded(encoder, photos, tmp_path):
    file = photos.parent / "twice.csv"
    rows = [f"{i % 19:03},photos/{i:04}.png" for i in range(N)]
    file.write_text("\n".join(["id,file_name", *rows]) + "\n")
    with raises_code("E-ID-REPEATED", "twice.csv", "'000'"):
        encode_source(encoder, file, tmp_path / "e")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------ going on
@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(encode_parts, "PART_ITEMS", 4)


def test_the_same_command_goes_on(encoder, photos, points, tmp_path, small_parts, monkeypatch):
    seen, real = [], PictureFolder.open_image

    def stop(source, row):
        seen.append(row)
        if row == 13:
            raise KeyboardInterrupt
        return real(source, row)

    with monkeypatch.context() as patched:
        patched.setattr(PictureFolder, "open_image", stop)
        with pytest.raises(KeyboardInterrupt):
            encode_source(encoder, photos, tmp_path / "e", batch_size=2, workers=1)
    assert not (tmp_path / "e").exists() and (tmp_path / "e.part").is_dir()
    done = sum(part["seen"] for part in json.loads((tmp_path / "e.part/progress.json").read_text())["parts"])
    assert done == 12
    seen.clear()
    monkeypatch.setattr(
        PictureFolder, "open_image", lambda source, row: (seen.append(row), real(source, row))[1]
    )
    encoded = encode_source(encoder, photos, tmp_path / "e", batch_size=2)
    assert sorted(seen) == list(range(12, N)) and not (tmp_path / "e.part").exists()
    np.testing.assert_allclose(encoded.points, points, atol=1e-6)
    assert encoded.items().column("id").to_pylist() == [f"{i:04}.png" for i in range(N)]
    encoded.check()


def test_a_corrupt_shard_in_mid_stream(encoder, photos, points, tmp_path, small_parts):
    written(photos, "shards")
    (photos.parent / "shards").rename(photos.parent / "torn")
    shard = photos.parent / "torn/1.parquet"
    whole = shard.read_bytes()
    torn = bytearray(whole)
    middle = pq.ParquetFile(shard).metadata.row_group(1).column(1)
    torn[middle.dictionary_page_offset : middle.dictionary_page_offset + 20] = b"\xff" * 20
    shard.write_bytes(bytes(torn))
    with raises_code("E-FILE-DAMAGED", "1.parquet", "rows 3", "10 items"):
        encode_source(encoder, photos.parent / "torn", tmp_path / "e", batch_size=2)
    shard.write_bytes(whole)
    encoded = encode_source(encoder, photos.parent / "torn", tmp_path / "e", batch_size=2)
    np.testing.assert_allclose(encoded.points, points, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_another_input_does_not_go_on_with_it(encoder, photos, tmp_path, small_parts, monkeypatch):
    def full(*_):
        raise LimbeckError("disk: cannot write (No space left on device)", code="E-PATH-WRITE")

    with monkeypatch.context() as patched:
        patched.setattr(encode_parts.Parts, "batches", full)
        with raises_code("E-PATH-WRITE", "20 items", "e.part"):
            encode_source(encoder, photos, tmp_path / "e")
    write_pictures(tmp_path / "other", range(3))
    with raises_code("E-ENCODE-UNFINISHED", "e.part:"):
        encode_source(encoder, tmp_path / "other", tmp_path / "e")
    write_pictures(tmp_path / "other" / "of_these_names", range(N))
    with raises_code("E-ENCODE-UNFINISHED", "e.part:"):
        encode_source(encoder, tmp_path / "other" / "of_these_names", tmp_path / "e")
    with raises_code("E-ENCODE-UNFINISHED", "e.part:"):
        encode_source(pixel_encoder(seed=1), photos, tmp_path / "e")
    with writer_lock(tmp_path / "e.part"), raises_code("E-INDEX-LOCKED", "e.part:"):
        encode_source(encoder, photos, tmp_path / "e")
    assert len(encode_source(encoder, photos, tmp_path / "e")) == N
    with raises_code("E-PATH-EXISTS", "e:"):
        encode_source(encoder, photos, tmp_path / "e")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "other"]


def test_killed_and_taken_up_by_the_command_line(encoder, photos, points, tmp_path, monkeypatch, capsys):
    encoder.save(tmp_path / "model")
    script = textwrap.dedent(
        """
        import sys, time
        from limbeck.encoding import parts as encode_parts
        from limbeck.cli import main
        from limbeck.encoding import PictureFolder
        encode_parts.PART_ITEMS, real = 4, PictureFolder.open_image
        def slow(source, row):
            if row > 9:
                print("there", flush=True)
                time.sleep(60)
            return real(source, row)
        PictureFolder.open_image = slow
        main()
        """
    )
    words = ["encode", tmp_path / "model", photos, "--out", tmp_path / "e", "--batch-size", 2, "--workers", 1]
    words = [*map(str, words)]
    child = subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "there\n"
    deadline = time.monotonic() + 30
    while not (tmp_path / "e.part/000001").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "e").exists()
    monkeypatch.setattr("sys.argv", ["limbeck", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code and "20 items in" in capsys.readouterr().out
    np.testing.assert_allclose(Encoded.open(tmp_path / "e").points, points, atol=1e-6)


def test_embeddings_are_kept_by_encode_and_by_add(photos, tmp_path):
    import limbeck

    encoder = pixel_encoder(bits=16)
    encode_source(encoder, photos, tmp_path / "e", keep_embeddings=True)
    index = limbeck.Index.build(tmp_path / "i", tmp_path / "e", model=encoder, embeddings=True)
    encode_source(encoder, photos, tmp_path / "plain")
    with raises_code("E-INDEX-EMBEDDINGS", "--keep-embeddings"):
        limbeck.Index.build(tmp_path / "j", tmp_path / "plain", model=encoder, embeddings=True)
    wanted = encoder.encode_image([photos / f"{i:04}.png" for i in range(N)], output="embeddings")
    add_items(tmp_path / "i", photos, replace=True)
    for one in (index, limbeck.Index.open(tmp_path / "i")):
        rows = one.store.rows_of([f"{i:04}.png" for i in range(N)])
        np.testing.assert_allclose(embeddings_at(one.store, rows), wanted, atol=3e-4)
