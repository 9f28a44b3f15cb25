"""Codes in every form that the field writes, read alike by evaluation, index and search."""

from __future__ import annotations

import re

import numpy as np
import pytest

import limbeck
from limbeck.codes import pack_bits
from limbeck.codes.arrays import as_codes, as_codes_or_vectors
from limbeck.errors import LimbeckError
from limbeck.evaluation.codes_file import read_codes
from limbeck.search import add_items
from raising import raises_code

SIGNS = np.where(np.random.default_rng(0).random((20, 32)) < 0.5, -1, 1)
PACKED = pack_bits(SIGNS.astype(np.int8))
FORMS = {
    "packed": PACKED,
    "bool": SIGNS > 0,
    **{
        kind: SIGNS.astype(kind)
        for kind in ("int8", "int16", "int64", "float16", "float32", "float64", ">f4")
    },
}
WRONG = [
    ((SIGNS > 0).astype(np.int8), "integers 0 and 1, which could be bits or a packed code"),
    ((SIGNS > 0).astype(np.uint8), "holds only 0 and 1; pack the bits with numpy.packbits"),
    ((SIGNS > 0).astype(np.uint16), "integers 0 and 1, which could be bits"),
    ((SIGNS > 0).astype(np.float32), r"\(float32\) holds only 0 and 1; give booleans"),
    ((SIGNS > 0).astype(np.float16), r"\(float16\) holds only 0 and 1; give booleans"),
    (np.where(np.arange(32) == 5, 0.0, SIGNS), r"\(float64\) holds values other than -1 and \+1; give signs"),
    (SIGNS * 2, "values other than -1 and \\+1"),
    (SIGNS[:, :12].astype(np.int8), "has 12 bits; give a multiple of 8"),
    (SIGNS[0], r"has shape \(32,\)"),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_codes_everywhere(run, tmp_path, form):
    array = FORMS[form]
    np.testing.assert_array_equal(as_codes(array, "codes"), PACKED)
    np.testing.assert_array_equal(as_codes_or_vectors(array, "codes"), PACKED)
    np.save(tmp_path / "c.npy", array)
    (tmp_path / "ids.txt").write_text("".join(f"i{i}\n" for i in range(20)))
    given = ["--codes", tmp_path / "c.npy", "--ids", tmp_path / "ids.txt"]
    status, _, err = run("index", "build", *given, "--out", tmp_path / "ix")
    assert status == 0, err
    index = limbeck.Index.open(tmp_path / "ix")
    np.testing.assert_array_equal(np.concatenate(index.store.points), PACKED)
    add_items(tmp_path / "ix", array[:3], items={"id": ["x", "y", "z"]})
    np.testing.assert_array_equal(limbeck.Index.open(tmp_path / "ix").store.points[1], PACKED[:3])
    np.save(tmp_path / "q.npy", array[5])
    status, out, err = run("search", tmp_path / "ix", "--codes", tmp_path / "q.npy", "-k", 1)
    assert status == 0 and " i5 " in out, err
    np.savez(tmp_path / "e.npz", query_image=array[:5], database_text=array)
    np.testing.assert_array_equal(read_codes(tmp_path / "e.npz").codes["query_image"], PACKED[:5])


@pytest.mark.parametrize(("array", "message"), WRONG)
def test_what_is_no_code_is_refused_alike(run, tmp_path, array, message):
    np.save(tmp_path / "c.npy", array)
    (tmp_path / "ids.txt").write_text("".join(f"i{i}\n" for i in range(len(array))))
    with pytest.raises(LimbeckError, match=message):
        as_codes(array, "codes")
    status, _, err = run(
        "index",
        "build",
        "--codes",
        tmp_path / "c.npy",
        "--ids",
        tmp_path / "ids.txt",
        "--out",
        tmp_path / "ix",
    )
    assert status == 1 and len(err.strip().splitlines()) == 1 and not (tmp_path / "ix").exists()
    if array.ndim == 2 and (array.dtype.kind != "f" or np.abs(array).max() <= 1):
        assert re.search(message, err), err
    np.savez(tmp_path / "e.npz", query_image=array, database_text=array)
    with pytest.raises(LimbeckError, match=message):
        read_codes(tmp_path / "e.npz")


def test_vectors_stay_vectors_and_are_no_codes(tmp_path):
    vectors = SIGNS.astype(np.float32) / np.sqrt(np.float32(32))
    assert as_codes_or_vectors(vectors, "x") is vectors
    axes = np.eye(32, dtype=np.float32) * np.where(np.arange(32) % 3, 1, -1)[:, None]  # unit vectors
    assert as_codes_or_vectors(axes, "x") is axes
    almost = SIGNS.astype(np.float32)
    almost[19, 31] = 0.5
    assert as_codes_or_vectors(almost, "x") is almost
    with pytest.raises(LimbeckError, match="values other than -1 and"):
        as_codes(almost, "x")
    with raises_code("E-SPACE-POINTS", "row 0"):
        limbeck.Index.build(tmp_path / "ix", almost, items={"id": [f"i{i}" for i in range(20)]})
