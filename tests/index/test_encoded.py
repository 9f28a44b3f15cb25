from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from helpers_index import codes, items, vectors

from limbeck.errors import LimbeckError
from limbeck.index.arrays import NpyWriter, open_npy, open_queries
from limbeck.index.encoded import Encoded, EncodedMeta, read_skipped, write_encoded
from limbeck.spaces import Hamming, Sphere
from raising import raises_code


def write(path, n=50, space=None, step=16, **options):
    space = space or Hamming(16)
    points = codes(n) if space.storage == "codes" else vectors(n, space.width)
    with write_encoded(
        path, EncodedMeta(space, "abc", model="runs/a", media_root="/pictures"), **options
    ) as writer:
        for start in range(0, n, step):
            part = points[start : start + step]
            writer.append(part, items(len(part), start))
        writer.skip("broken", "b.jpg: cannot read the picture; replace it")
    return points


@pytest.mark.parametrize("space", [Hamming(16), Sphere(8)], ids=str)
def test_what_was_written_comes_back(tmp_path, space):
    points = write(tmp_path / "e", space=space)
    encoded = Encoded.open(tmp_path / "e")
    assert len(encoded) == 50 and encoded.meta == EncodedMeta(space, "abc", "image", "runs/a", "/pictures")
    assert np.array_equal(encoded.points, points) and isinstance(encoded.points, np.memmap)
    assert encoded.items().column("id").to_pylist() == [f"id-{i}" for i in range(50)]
    assert encoded.items().column("labels").to_pylist()[:2] == [["even"], []]
    parts = list(encoded.batches(7))
    assert np.array_equal(np.concatenate([part for part, _ in parts]), points)
    assert [name for _, table in parts for name in table.column("id").to_pylist()] == [
        f"id-{i}" for i in range(50)
    ]
    encoded.check()
    assert [entry["id"] for entry in read_skipped(tmp_path / "e")] == ["broken"]


def test_nothing_appears_on_an_error(tmp_path):
    with pytest.raises(RuntimeError), write_encoded(tmp_path / "e", EncodedMeta(Hamming(16), None)) as writer:
        writer.append(codes(3), items(3))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_bad_input(tmp_path):
    meta = EncodedMeta(Hamming(16), None)
    with raises_code("E-ENCODE-EMPTY", "e:"), write_encoded(tmp_path / "e", meta):
        pass
    with raises_code("E-ARRAY-SHAPE", "width 4"), write_encoded(tmp_path / "e", meta) as writer:
        writer.append(codes(3, 32), items(3))
    with raises_code("E-ARRAY-ROWS", "3 points"), write_encoded(tmp_path / "e", meta) as writer:
        writer.append(codes(3), items(2))
    with (
        raises_code("E-ID-REPEATED", "'id-0'"),
        write_encoded(tmp_path / "e", meta) as writer,
    ):
        writer.append(codes(3), items(3))
        writer.append(codes(3), items(3))
    with pytest.raises(LimbeckError, match="columns"), write_encoded(tmp_path / "e", meta) as writer:
        writer.append(codes(3), items(3))
        writer.append(codes(1), {"id": ["x"]})
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "e")
    with raises_code("E-PATH-EXISTS", "e:"):
        write(tmp_path / "e", 10)
    write(tmp_path / "e", 10, replace=True)
    assert len(Encoded.open(tmp_path / "e")) == 10


def test_damage_is_named(tmp_path):
    write(tmp_path / "e")
    for name in ("points.npy", "items.parquet"):
        data = (tmp_path / "e" / name).read_bytes()
        flipped = bytearray(data)
        flipped[len(data) - 30] ^= 1
        (tmp_path / "e" / name).write_bytes(flipped)
        with raises_code("E-INDEX-DAMAGED", name):
            Encoded.open(tmp_path / "e").check()
        (tmp_path / "e" / name).write_bytes(data[:-9])
        with pytest.raises(LimbeckError, match=name):
            Encoded.open(tmp_path / "e")
        (tmp_path / "e" / name).write_bytes(data)
    meta = json.loads((tmp_path / "e/encoded.json").read_text())
    for change, message in [
        ({"n": 49}, r"points.npy: holds uint8 \(50, 2\)"),
        ({"space": {"name": "hamming", "bits": 8}}, r"expected uint8 \(50, 1\)"),
        ({"format": "limbeck.encoded/9"}, "encode again"),
        ({"sha256": None}, "sha256 is None, not dict; encode again"),
        ({"sha256": {}}, "items.parquet: is damaged"),
    ]:
        (tmp_path / "e/encoded.json").write_text(json.dumps(meta | change))
        with pytest.raises(LimbeckError, match=message):
            Encoded.open(tmp_path / "e")
    with raises_code("E-PATH-MISSING", "encoded.json"):
        Encoded.open(tmp_path / "nothing")


def test_an_array_written_in_pieces_is_a_plain_npy(tmp_path):
    points = vectors(1000, 5)
    with NpyWriter(tmp_path / "a.npy", np.dtype(np.float32), 5) as writer:
        for start in range(0, 1000, 300):
            writer.append(points[start : start + 300])
        with pytest.raises(ValueError, match="appended"):
            writer.append(points.astype(np.float64))
    assert np.array_equal(np.load(tmp_path / "a.npy"), points)
    assert np.array_equal(open_npy(tmp_path / "a.npy"), points)


def test_pickles_and_other_files_are_not_read_as_arrays(tmp_path):
    with (tmp_path / "pickle.npy").open("wb") as stream:
        pickle.dump([1, 2], stream)
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npy.npz", a=np.zeros(3))
    np.save(tmp_path / "short.npy", codes(100))
    data = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(data[:-1])
    for name, message in [
        ("pickle.npy", "pickles are never read"),
        ("objects.npy", "never unpickled"),
        ("archive.npy.npz", "not a .npy array"),
        ("short.npy", "not readable"),
        ("missing.npy", "no such file"),
        ("", "is a folder, not a regular file"),
    ]:
        with pytest.raises(LimbeckError, match=message):
            open_npy(tmp_path / name)


def test_queries_are_rows(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(8, np.uint8))
    np.save(tmp_path / "none.npy", np.zeros((0, 8), np.uint8))
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2), np.uint8))
    assert open_queries(tmp_path / "one.npy").shape == (1, 8)
    for name in ("none.npy", "cube.npy"):
        with pytest.raises(LimbeckError, match="one row per query"):
            open_queries(tmp_path / name)
