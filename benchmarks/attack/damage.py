"""Damage to one file: bits, lengths, headers, swaps. Each is a function of the bytes and a random generator."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from typing import Any

_EXTREME = (
    0,
    1,
    -1,
    2**15,
    2**31 - 1,
    -(2**31),
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64 - 1,
)
_FLOATS = (float("nan"), float("inf"), -float("inf"), 1e308, 1e-320, -0.0)
_JSON: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**40, -0.5, 1e308, "", "x", "../../etc/passwd", "/etc/passwd", "\x00",
    "\ud800", "a" * 5000, [], {}, [[]], ["x"], {"a": 1},
)  # fmt: skip


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
        if found:
            at = _place(len(found), rng)
            found[at] ^= 1 << rng.randrange(8)
    return bytes(found)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice((0, 1, 7, len(data) // 2, max(0, len(data) - 1), rng.randrange(len(data) + 1)))]


def extend(data: bytes, rng: random.Random) -> bytes:
    return data + rng.choice((b"\0", b"\n", bytes(4096), rng.randbytes(100), data))


def fill(data: bytes, rng: random.Random) -> bytes:
    found, at = bytearray(data), _place(max(1, len(data)), rng)
    size = min(len(found) - at, rng.choice((1, 4, 16, 64, 4096, len(found))))
    found[at : at + size] = rng.choice((b"\0", b"\xff", rng.randbytes(1))) * max(0, size)
    return bytes(found)


def extreme_number(data: bytes, rng: random.Random) -> bytes:
    """A whole number or float of extreme size at a place where one may stand."""
    if rng.random() < 0.15:
        code, value = rng.choice("fd"), rng.choice(_FLOATS)
        value = 3e38 if code == "f" and abs(value) == 1e308 else value
        packed = struct.pack(f"<{code}", value)
    else:
        size = rng.choice((1, 2, 4, 4, 8, 8, 8))
        number = rng.choice((*_EXTREME, len(data), len(data) * 2, rng.randrange(1 << 16)))
        packed = (number % (1 << 8 * size)).to_bytes(size, "little")
    at = _place(max(1, len(data)), rng)
    at -= at % rng.choice((1, len(packed)))
    return data[:at] + packed + data[at + len(packed) :]


def splice(data: bytes, rng: random.Random) -> bytes:
    """A piece left out, or put in twice."""
    a, b = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:a] + data[b:] if rng.random() < 0.5 else data[:b] + data[a:]


def edit_json(data: bytes, rng: random.Random) -> bytes:
    """A value of a JSON file replaced, left out or nested; any other file has a bit flipped."""
    try:
        value = json.loads(data)
    except ValueError:
        return flip_bits(data, rng)
    value = mutated(value, rng)
    if rng.random() < 0.1:
        return json.dumps(value).replace(" 1,", " " + "9" * 5000 + ",", 1).encode()
    if rng.random() < 0.05:
        return b"[" * 100_000 + b"]" * 100_000
    if rng.random() < 0.05:
        return b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    return json.dumps(value).encode()


def mutated(value: Any, rng: random.Random) -> Any:
    """A JSON value with one of its places changed."""
    found = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(found, dict | list) or not found:
        return rng.choice(_JSON)
    walk(found)
    node, key = rng.choice(places)
    what = rng.random()
    if what < 0.2:
        del node[key]
    elif what < 0.3 and isinstance(node, dict):
        node[rng.choice(("", "zzz", "checksum", str(key) + "x"))] = rng.choice(_JSON)
    elif what < 0.4 and isinstance(node[key], str) and node[key]:
        at = rng.randrange(len(node[key]))
        node[key] = (
            node[key][:at] + rng.choice(("../", "/", "\x00", "é", "a" * 300, "")) + node[key][at + 1 :]
        )
    else:
        node[key] = rng.choice(_JSON)
    return found


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits": flip_bits,
    "truncated": truncate,
    "extended": extend,
    "filled": fill,
    "number": extreme_number,
    "spliced": splice,
    "json": edit_json,
}


def _place(size: int, rng: random.Random) -> int:
    """A place in a file: headers and footers, where lengths stand, as often as everything between."""
    edge = min(size, rng.choice((16, 128, 1024)))
    return rng.choice((rng.randrange(edge), size - 1 - rng.randrange(edge), rng.randrange(size)))
