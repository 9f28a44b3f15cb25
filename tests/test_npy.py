"""Headers of ``.npy`` files that lie: refused by name, nothing allocated."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.npy import open_npy
from raising import raises_code


def write(path, text: str, body: bytes = bytes(96), version: bytes = b"\x01\x00") -> None:
    head = text.encode("latin1") + b"\n"
    size = len(head).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    path.write_bytes(b"\x93NUMPY" + version + size + head + body)


@pytest.mark.parametrize(
    ("descr", "shape", "message"),
    [
        ("<f4", "(10**12, 10**12)", ("E-ARRAY-FILE", "not readable as a plain array")),
        ("<f4", f"({10**12}, 8)", ("E-ARRAY-FILE", "32,000,000,000,000 bytes", "96")),
        ("<f4", "(-3, 8)", ("E-ARRAY-FILE", "shape (-3, 8)")),
        ("<f4", f"({2**63}, 0)", ("E-ARRAY-FILE", "shape")),
        ("<f4", "(4, 8)", ("E-ARRAY-FILE", "128 bytes", "96")),
        ("<f4", "(" + "1, " * 40 + ")", ("E-ARRAY-FILE", "shape")),
        ("|V0", "(10,)", ("E-ARRAY-FILE", "shape")),
        ("O", "(3,)", ("E-ARRAY-FILE", "pickle")),
        ("<f9", "(3,)", ("E-ARRAY-FILE", "not readable")),
        ("<f4", "3", ("E-ARRAY-FILE", "not readable")),
    ],
)
def test_shapes_and_types_that_lie(tmp_path, descr, shape, message):
    write(tmp_path / "a.npy", f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")
    with raises_code(*message) as caught:
        open_npy(tmp_path / "a.npy")
    assert "\n" not in str(caught.value) and "a.npy" in str(caught.value)


def test_every_layout_comes_back(tmp_path):
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.zeros((0, 4)),
    ):
        np.save(tmp_path / "a.npy", array)
        assert np.array_equal(open_npy(tmp_path / "a.npy"), array)
        assert open_npy(tmp_path / "a.npy").dtype == array.dtype
    with (tmp_path / "b.npy").open("wb") as stream:
        np.lib.format.write_array(stream, np.arange(5), version=(2, 0))
    assert open_npy(tmp_path / "b.npy").tolist() == [0, 1, 2, 3, 4]


def test_devices_and_folders_are_refused(tmp_path):
    for path, message in (
        (tmp_path, "a folder"),
        ("/dev/zero", "a device"),
        (tmp_path / "x", "no such file"),
    ):
        with pytest.raises(LimbeckError, match=message):
            open_npy(path)


@given(st.binary(max_size=200), st.integers(0, 140))
@settings(max_examples=150, deadline=None)
def test_any_header_is_read_or_refused(tmp_path_factory, noise, at):
    path = tmp_path_factory.getbasetemp() / "noise.npy"
    np.save(path, np.arange(24, dtype=np.float32).reshape(6, 4))
    content = bytearray(path.read_bytes())
    content[at : at + len(noise)] = noise
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = open_npy(path)
    except LimbeckError as error:
        assert "\n" not in str(error)
    else:
        assert found.nbytes <= len(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
