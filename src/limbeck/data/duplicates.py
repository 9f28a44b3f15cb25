"""Finding equal and nearly equal pictures: content hashes, difference hashes, a second look at the pixels."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from limbeck.pictures import decode_picture

# On MIRFlickr (15,677 pictures) these two limits give five pairs, all of them the same photo or shot; the
# difference hash alone gives a thousand, since dark pictures share one.
MAX_DISTANCE = 7
MIN_CORRELATION = 0.96
# Below this spread of grey a picture is flat: its hash is noise and its correlation says nothing.
MIN_SPREAD = 4.0
# Where hashes collide by the million (thousands of near-blank pictures), looking at each pair would not end.
MAX_CANDIDATES = 2_000_000
_SIDE = 32


@dataclass(frozen=True)
class Print:
    """Fingerprints of one picture: content (of the file's bytes), 64-bit difference hash, 32×32 grey."""

    content: bytes
    hash: int
    grey: np.ndarray


def fingerprint(data: bytes, name: str) -> Print:
    """Fingerprint an encoded picture.

    Raises:
        LimbeckError: the picture cannot be decoded; ``name`` stands in the message.
    """
    grey = decode_picture(io.BytesIO(data), name, size=2 * _SIDE).convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1]).tobytes()
    thumbnail = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    return Print(hashlib.blake2b(data, digest_size=16).digest(), int.from_bytes(bits, "big"), thumbnail)


def equal_groups(contents: Sequence[bytes]) -> list[list[int]]:
    """Groups of positions whose content is the same, each of two or more, in order of their first member."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for position, content in enumerate(contents):
        places[content].append(position)
    return [group for group in places.values() if len(group) > 1]


def near_pairs(hashes: np.ndarray, greys: np.ndarray) -> tuple[list[tuple[int, int, int, float]], bool]:
    """Pairs of nearly equal pictures: few differing hash bits, and grey thumbnails that correlate.

    Args:
        hashes: uint64 (n,).
        greys: uint8 (n, 32, 32).

    Returns:
        (first, second, Hamming distance, correlation) sorted by falling correlation, and whether the search
        was cut off at `MAX_CANDIDATES`.
    """
    flat = greys.reshape(len(greys), -1)
    spread = np.array([row.std() for row in flat]) if len(flat) else np.empty(0)
    alive = np.flatnonzero(spread >= MIN_SPREAD)
    found: list[tuple[int, int, int, float]] = []
    seen = 0
    for first, second in _candidates(hashes[alive]):
        seen += len(first)
        a, b = alive[first], alive[second]
        for start in range(0, len(a), 4096):
            part = slice(start, start + 4096)
            likeness = _correlation(flat[a[part]], flat[b[part]], spread[a[part]], spread[b[part]])
            for at in np.flatnonzero(likeness >= MIN_CORRELATION).tolist():
                i, j = sorted((int(a[part][at]), int(b[part][at])))
                found.append((i, j, int(np.bitwise_count(hashes[i] ^ hashes[j])), float(likeness[at])))
        if seen > MAX_CANDIDATES:
            break
    return sorted(found, key=lambda pair: (-pair[3], pair[:2])), seen > MAX_CANDIDATES


def _candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs within `MAX_DISTANCE` bits, each once.

    With at most seven differing bits one of the eight bytes is equal, so only pictures that share a byte are
    compared; a pair is given at the first byte that it shares.
    """
    for byte in range(8):
        shift = np.uint64(8 * byte)
        keys = (hashes >> shift) & np.uint64(255)
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(257, dtype=np.uint64))
        earlier = [np.uint64(8 * before) for before in range(byte)]
        for low, high in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            members = order[low:high]
            for start in range(0, len(members), 256):
                rows = members[start : start + 256]
                others = members[start:]
                difference = hashes[rows][:, None] ^ hashes[others][None, :]
                near = np.bitwise_count(difference) <= MAX_DISTANCE
                near &= np.arange(len(others))[None, :] > np.arange(len(rows))[:, None]
                for before in earlier:
                    near &= ((difference >> before) & np.uint64(255)) != 0
                r, c = np.nonzero(near)
                if len(r):
                    yield rows[r], others[c]


def _correlation(a: np.ndarray, b: np.ndarray, spread_a: np.ndarray, spread_b: np.ndarray) -> np.ndarray:
    """Pearson correlation of the rows of two uint8 matrices (m, p), float32 (m,)."""
    x = a.astype(np.float32) - a.mean(axis=1, keepdims=True, dtype=np.float32)
    y = b.astype(np.float32) - b.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.einsum("ij,ij->i", x, y) / (a.shape[1] * spread_a * spread_b)
