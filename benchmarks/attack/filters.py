"""Random filters: each is refused by name, or answers as a plain evaluation in Python does."""

from __future__ import annotations

import datetime
import decimal
import random
import re
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from attack.worker import FAULTS, Wrong, classified
from limbeck.index.filter_ast import Condition, Joined, Not, Test
from limbeck.index.filter_parser import Where

_DAY = datetime.datetime(2020, 2, 27, 12)
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "id": (pa.string(), [f"id-{i}" for i in range(40)]),
    "path": (pa.string(), [None if i % 5 == 0 else f"{'ab'[i % 2]}/sub_{i % 3}/{i}%.jpg" for i in range(40)]),
    "odd name": (pa.string(), ["", "é", "e\u0301", "\U0001f600", "it's", 'a"b', "\\%_*?", "a\nb"] * 5),
    "labels": (
        pa.list_(pa.string()),
        [None if i % 7 == 0 else ["sky", "sea", ""][: i % 4] for i in range(40)],
    ),
    "sizes": (pa.list_(pa.int32()), [None if i % 6 == 0 else [i, None, 3][: i % 4] for i in range(40)]),
    "small": (pa.int8(), [None if i % 9 == 0 else i * 6 - 120 for i in range(40)]),
    "width": (pa.int64(), [(-(2**63), 2**63 - 1, 2**53 + 1, 0, None)[i % 5] for i in range(40)]),
    "huge": (pa.uint64(), [(2**64 - 1, 2**64 - 2, 2**63, 0, None)[i % 5] for i in range(40)]),
    "half": (pa.float16(), [None if i % 4 == 0 else np.float16(i / 3) for i in range(40)]),
    "score": (pa.float32(), [(None, float("nan"), float("inf"), -0.0, i / 7)[i % 5] for i in range(40)]),
    "exact": (pa.float64(), [(0.1, 1e308, -float("inf"), None, i * 2.5)[i % 5] for i in range(40)]),
    "kept": (pa.bool_(), [(True, False, None)[i % 3] for i in range(40)]),
    "day": (
        pa.date32(),
        [None if i % 5 == 0 else (_DAY + datetime.timedelta(days=i)).date() for i in range(40)],
    ),
    "taken": (
        pa.timestamp("ms"),
        [None if i % 5 == 0 else _DAY + datetime.timedelta(hours=i) for i in range(40)],
    ),
    "zoned": (
        pa.timestamp("us", "UTC"),
        [None if i % 3 else _DAY.replace(tzinfo=datetime.UTC) for i in range(40)],
    ),
    "clock": (pa.time32("s"), [datetime.time(i % 24, 5) for i in range(40)]),
    "took": (pa.duration("s"), [datetime.timedelta(seconds=i) for i in range(40)]),
    "raw": (pa.binary(), [bytes([i]) for i in range(40)]),
    "price": (pa.decimal128(6, 2), [decimal.Decimal(i) / 4 for i in range(40)]),
    "nested": (pa.struct([("a", pa.int64())]), [{"a": i} for i in range(40)]),
    "vector": (pa.list_(pa.float32(), 2), [[i, -i] for i in range(40)]),
    "deep": (pa.list_(pa.list_(pa.string())), [[["x"]] for _ in range(40)]),
}
TABLE = pa.table({name: pa.array(values, kind) for name, (kind, values) in COLUMNS.items()})
ROWS = TABLE.to_pylist()
_VALUES = (
    "0", "1", "-1", "3", "12", "-120", "127", "128", "2.5", "0.1", ".1", "1.", "1e3", "1e40", "1e308", "-1e40", "70000", "1e400", "-1e400", "1e-400",
    "9007199254740993", "9007199254740992", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "18446744073709551615", "18446744073709551614", "18446744073709551616", "9" * 400, "9" * 5000, "0." + "0" * 500 + "1",
    "true", "FALSE", "null", "nan", "inf", "Infinity", "sky", "'sky'", "'sea'", "''", '""', "'it''s'", "'a\"b'", '"a""b"',
    "'é'", "'e\u0301'", "'\U0001f600'", "'\ud800'", "'\x00'", "'a\x00b'", "'a/*'", "'a?b'", "'a*'", "'a\nb'", "'*%.jpg'", "'?/sub_1/*'", "'\\%_*?'",
    "'2020-03-01'", "'2020-03-01 12:00:00'", "'2020-03-01T12:00:00Z'", "'12:05:00'", "'not a day'", "'9999-99-99'", "'1.25'",
    "id-3", "'id-3'", "+5", "--5", "1_000", "٣", "½", "0x10", "1e", "1.2.3",
)  # fmt: skip
_NUMBERS = _VALUES.index("true")
_NAMES = (
    *(f"`{n}`" if " " in n else n for n in COLUMNS),
    "colour",
    "widht",
    "`",
    "``",
    "`\x00`",
    "é",
    "\ud800",
    "not",
    "is",
)
_SIGNS = (
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "==",
    "<>",
    "has",
    "in",
    "like",
    "startswith",
    "is",
    "is not",
    "HAS",
    "Like",
    "≤",
)
_NOISE = (
    "\x00",
    "\ud800",
    "(",
    ")",
    "'",
    '"',
    "`",
    ",",
    " ",
    "\n",
    "\u2028",
    "\u00a0",
    "\\",
    "%",
    "not ",
    " and ",
    "9" * 60,
    "é",
)


def random_filter(rng: random.Random, depth: int = 0) -> str:
    """A filter, right or nearly so."""
    what = rng.random()
    if depth < 4 and what < 0.25:
        word = rng.choice((" and ", " or ", " AND ", " or\n"))
        return word.join(random_filter(rng, depth + 1) for _ in range(rng.choice((2, 2, 3))))
    if depth < 4 and what < 0.35:
        return f"({random_filter(rng, depth + 1)})"
    if depth < 4 and what < 0.42:
        return f"not {random_filter(rng, depth + 1)}"
    if rng.random() < 0.7:
        return _fitting(rng)
    name, sign = rng.choice(_NAMES[: len(COLUMNS)] if rng.random() < 0.93 else _NAMES), rng.choice(_SIGNS)
    if sign.startswith("is"):
        return f"{name} {sign} null"
    if sign.lower() in ("has", "in") and rng.random() < 0.7:
        return f"{name} {sign} ({', '.join(rng.choice(_VALUES) for _ in range(rng.choice((1, 2, 5))))})"
    return f"{name} {sign} {rng.choice(_VALUES)}"


def _fitting(rng: random.Random) -> str:
    """A test whose value is of its column's type."""
    column = rng.choice(list(COLUMNS))
    kind, name = COLUMNS[column][0], f"`{column}`" if " " in column else column
    inner = kind.value_type if pa.types.is_list(kind) else kind
    if rng.random() < 0.08:
        return f"{name} is {rng.choice(('', 'not '))}null"
    if pa.types.is_integer(inner) or pa.types.is_floating(inner):
        values, signs = _VALUES[:_NUMBERS], _SIGNS[:6]
    elif pa.types.is_boolean(inner):
        values, signs = ("true", "FALSE"), _SIGNS[:6]
    elif pa.types.is_string(inner):
        values, signs = [v for v in _VALUES if v[0] in "'\""], (*_SIGNS[:6], "like", "startswith")
    else:
        values, signs = [v for v in _VALUES if v[:2] in ("'2", "'1")], _SIGNS[:6]
    sign = "has" if pa.types.is_list(kind) else rng.choice((*signs, "in"))
    if sign in ("has", "in"):
        return f"{name} {sign} ({', '.join(rng.choice(values) for _ in range(rng.choice((1, 2, 9))))})"
    return f"{name} {sign} {rng.choice(values)}"


def mangled(text: str, rng: random.Random) -> str:
    """A filter with something put in, taken out, doubled or nested."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(text) + 1)
        what = rng.random()
        if what < 0.5:
            text = text[:at] + rng.choice(_NOISE) + text[at:]
        elif what < 0.8:
            text = text[:at] + text[at + rng.choice((1, 1, 5)) :]
        elif what < 0.9:
            text = text[:at] + text[at:] * rng.choice((1, 2, 3)) if len(text) < 2000 else text[at:]
        else:
            deep = rng.choice((10, 49, 51, 200, 4000))
            text = rng.choice(("(" * deep + text + ")" * deep, "not " * deep + text, "(" * deep + text))
    return text


def attack_filters(count: int, seed: int) -> dict[str, Any]:
    """Counts of ``count`` filters; faults with the filter."""
    rng, counts, faults = random.Random(seed), Counter[str](), []
    for _ in range(count):
        text = random_filter(rng)
        what = rng.random()
        if what < 0.35:
            text = mangled(text, rng)
        elif what < 0.4:
            text = "".join(
                rng.choice((*_NOISE, *_NAMES, *_SIGNS, *_VALUES)) for _ in range(rng.randrange(1, 12))
            )
        kind, message = classified(lambda text=text: check_filter(text))
        counts[kind] += 1
        if kind in FAULTS:
            faults.append({"kind": kind, "filter": ascii(text)[:200], "message": message[-400:]})
    return {"cases": count, "outcomes": dict(counts), "faults": faults}


def check_filter(text: str) -> None:
    """Raise unless a filter is refused or answers as `plain` does."""
    where = Where(text, TABLE.schema)
    given = where.mask(TABLE)
    true = [plain(where.condition, row) for row in ROWS]
    if given.dtype != bool or given.tolist() != true:
        rows = [row for row, (a, b) in enumerate(zip(given.tolist(), true, strict=True)) if a != b]
        raise Wrong(f"{ascii(text)[:200]}: rows {rows[:5]} differ")


def plain(condition: Condition, row: dict[str, Any]) -> bool:
    """Whether a parsed filter holds for a row, in Python alone."""
    if isinstance(condition, Not):
        return not plain(condition.inner, row)
    if isinstance(condition, Joined):
        return (all if condition.every else any)(plain(part, row) for part in condition.parts)
    assert isinstance(condition, Test)
    found, verb = row[condition.column], condition.verb
    if verb == "is null":
        return found is None
    if found is None:
        return False
    kind = COLUMNS[condition.column][0]
    if verb == "has":
        return any(
            _equal(one, value, kind.value_type)
            for one in found
            if one is not None
            for value in condition.values
        )
    if verb == "in":
        return any(_equal(found, value, kind) for value in condition.values)
    value = condition.values[0]
    if verb == "like":
        pattern = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in str(value))
        return re.fullmatch(pattern, found, re.DOTALL) is not None
    if verb == "startswith":
        return found.startswith(str(value))
    one, two = _comparable(found, value, kind)
    if isinstance(one, str):
        one, two = one.encode(), two.encode()
    return bool(
        {
            "=": one == two,
            "!=": one != two,
            "<": one < two,
            "<=": one <= two,
            ">": one > two,
            ">=": one >= two,
        }[verb]
    )


def _equal(found: Any, value: Any, kind: pa.DataType) -> bool:
    one, two = _comparable(found, value, kind)
    return bool(one == two)


def _comparable(found: Any, value: Any, kind: pa.DataType) -> tuple[Any, Any]:
    """Both as Python compares them exactly; a value beside floats in the column's own precision."""
    if pa.types.is_floating(kind):
        width = {16: np.float16, 32: np.float32, 64: np.float64}[kind.bit_width]
        with np.errstate(over="ignore"):
            rounded = float(width(float(value)))
        return float(found), rounded if np.isfinite(rounded) else float(value)  # only infinity is infinite
    if pa.types.is_temporal(kind):
        scalar = pa.scalar(str(value)).cast(kind)
        return found, scalar.as_py()
    return found, value
