"""Packing and unpacking of signs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limbeck.codes import pack_bits, sign_codes, unpack_bits
from limbeck.errors import LimbeckError
from raising import raises_code

codes_of_any_length = st.tuples(st.integers(0, 6), st.integers(1, 20)).flatmap(
    lambda s: hnp.arrays(np.uint8, s)
)


@settings(deadline=None)
@given(codes_of_any_length)
def test_round_trip(codes):
    signs = unpack_bits(codes)
    assert signs.dtype == np.int8 and signs.shape == (len(codes), 8 * codes.shape[1])
    np.testing.assert_array_equal(pack_bits(signs), codes)
    np.testing.assert_array_equal(pack_bits(signs > 0), codes)
    np.testing.assert_array_equal(sign_codes(signs * 0.5), codes)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.float32, np.float64])
def test_every_type_packs_alike_in_the_order_of_packbits(dtype):
    signs = np.where(np.random.default_rng(0).random((5, 16)) < 0.5, -1, 1)
    np.testing.assert_array_equal(pack_bits(signs.astype(dtype)), np.packbits(signs > 0, axis=1))


def test_first_sign_is_the_highest_bit():
    assert pack_bits(np.array([[1, -1, -1, -1, -1, -1, -1, -1]])).tolist() == [[128]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_zeros_and_ones_are_ambiguous(dtype):
    with raises_code("E-CODES-FORM", "signs:"):
        pack_bits(np.array([[0, 1] * 4], dtype=dtype))


@pytest.mark.parametrize(
    ("signs", "message"),
    [
        (np.full((1, 8), 0.5), ("E-CODES-FORM", "sign_codes")),
        (np.full((1, 8), np.nan), ("E-CODES-FORM", "signs:")),
        (np.zeros((1, 8)), ("E-CODES-FORM", "signs:")),
        (np.full((1, 8), 2), ("E-CODES-FORM", "signs:")),
        (np.ones((1, 12)), ("E-CODES-LENGTH", "of 8")),
        (np.ones((1, 0)), ("E-CODES-LENGTH", "of 8")),
        (np.ones(8), ("E-ARRAY-SHAPE", "signs:")),
        (np.full((1, 8), "x"), ("E-CODES-FORM", "bool")),
    ],
)
def test_pack_refuses_what_is_no_sign(signs, message):
    with raises_code(*message):
        pack_bits(signs)


def test_sign_of_zero_is_plus_one_also_of_minus_zero():
    assert sign_codes(np.array([[0.0, -0.0, -1e-30, 1e-30, 5, -5, 0, -1]])).tolist() == [[0b11011010]]


def test_sign_codes_refuses_nan_and_names_the_row():
    x = np.ones((3, 8))
    x[2, 3] = np.nan
    with raises_code("E-ARRAY-VALUES", "row 2"):
        sign_codes(x)
    with raises_code("E-ARRAY-TYPE", "x:"):
        sign_codes(x.astype(complex))


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((2, 3), np.int64),
        np.zeros(3, np.uint8),
        np.zeros((2, 0), np.uint8),
        np.zeros((2, 513), np.uint8),
    ],
)
def test_unpack_refuses_what_is_no_code(codes):
    with pytest.raises(LimbeckError, match="codes"):
        unpack_bits(codes)
