"""Detection of identical and look-alike pictures by content hashes, difference hashes and colours."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from limbeck.data.look_alike import MIN_LIKENESS, MIN_SPREAD, SIDE, Looks
from limbeck.pictures import PIXEL_BUDGET, decode_picture

# On MIRFlickr (15,677 pictures) this distance and the likeness give four pairs, all of them the same photo or
# shot; the difference hash alone gives 3,418, since dark pictures share one.
MAX_DISTANCE = 7
# Hashes can collide by the million (thousands of near-blank pictures); comparing each pair would not end.
MAX_CANDIDATES = 2_000_000
_AT_ONCE = 4096


@dataclass(frozen=True)
class Print:
    """Fingerprints of one picture: hash of the file's bytes, 64-bit difference hash, 32×32 colours."""

    content: bytes
    hash: int
    thumb: np.ndarray


@dataclass(frozen=True)
class Alike:
    """Sorted positions of pictures that look alike, and the least likeness that joined two of them."""

    members: list[int]
    likeness: float


def fingerprint(data: bytes, name: str) -> Print:
    """Compute the fingerprints of an encoded picture.

    Raises:
        LimbeckError: the picture cannot be decoded; the message contains ``name``.
    """
    with PIXEL_BUDGET.keep():
        shown = decode_picture(io.BytesIO(data), name, size=2 * SIDE)
        small = np.asarray(shown.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
        thumb = np.asarray(shown.resize((SIDE, SIDE), Image.Resampling.BOX))
    bits = np.packbits(small[:, 1:] > small[:, :-1]).tobytes()
    return Print(hashlib.blake2b(data, digest_size=16).digest(), int.from_bytes(bits, "big"), thumb)


def equal_groups(contents: Sequence[bytes]) -> list[list[int]]:
    """Group positions of equal content, two or more each, in order of their first member."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for position, content in enumerate(contents):
        places[content].append(position)
    return [group for group in places.values() if len(group) > 1]


def alike_groups(prints: Sequence[Print]) -> tuple[list[Alike], bool]:
    """Group pictures that look alike: few differing hash bits, and correlated colours.

    Two members of a group may look alike only through others. Flat pictures look like none.

    Returns:
        groups of two or more by falling likeness, and whether the search stopped at `MAX_CANDIDATES`.
    """
    thumbs = np.stack([p.thumb for p in prints]) if prints else np.empty((0, SIDE, SIDE, 3), np.uint8)
    visible = [at for at, thumb in enumerate(thumbs) if thumb.std(axis=(0, 1)).max() >= MIN_SPREAD]
    joined = _Joined(len(prints))
    # One thumbnail represents all equal ones.
    places: dict[bytes, int] = {}
    for at in visible:
        joined.join(places.setdefault(thumbs[at].tobytes(), at), at, 1.0)
    single = np.array(list(places.values()), np.int64)
    hashes = np.array([prints[at].hash for at in single.tolist()], np.uint64)
    looks = Looks.of(thumbs[single])
    seen = 0
    for some in _candidates(hashes):
        # Pairs that others have joined are not looked at: n pictures of one scene are no n² looks.
        rest = joined.apart(single[some[0]], single[some[1]])
        for start in range(0, len(rest[0]), _AT_ONCE):
            pairs = joined.apart(*(side[start : start + _AT_ONCE] for side in rest))
            seen += len(pairs[0])
            likeness = looks.likeness(*(np.searchsorted(single, side) for side in pairs))
            for at in np.flatnonzero(likeness >= MIN_LIKENESS).tolist():
                joined.join(int(pairs[0][at]), int(pairs[1][at]), float(likeness[at]))
        if seen > MAX_CANDIDATES:
            break
    return sorted(joined.groups(), key=lambda group: (-group.likeness, group.members)), seen > MAX_CANDIDATES


class _Joined:
    """Union of positions, with the least likeness of each."""

    def __init__(self, count: int) -> None:
        self._above, self._likeness = list(range(count)), [1.0] * count

    def _root(self, at: int) -> int:
        while self._above[at] != at:
            self._above[at] = at = self._above[self._above[at]]
        return at

    def join(self, first: int, second: int, likeness: float) -> None:
        first, second = sorted((self._root(first), self._root(second)))
        if first != second:
            self._above[second] = first
            self._likeness[first] = min(self._likeness[first], self._likeness[second], likeness)

    def apart(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return those pairs of positions (m,) and (m,) that are not joined yet."""
        places, inverse = np.unique(np.concatenate([first, second]), return_inverse=True)
        roots = np.array([self._root(at) for at in places.tolist()], np.int64)[inverse]
        keep = roots[: len(first)] != roots[len(first) :]
        return first[keep], second[keep]

    def groups(self) -> list[Alike]:
        members: dict[int, list[int]] = defaultdict(list)
        for at in range(len(self._above)):
            members[self._root(at)].append(at)
        return [Alike(group, self._likeness[root]) for root, group in members.items() if len(group) > 1]


def _candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs within `MAX_DISTANCE` bits, each once.

    With at most seven differing bits one of the eight bytes is equal. Only pictures that share a byte are
    compared, and a pair is yielded at the first byte that it shares.
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
