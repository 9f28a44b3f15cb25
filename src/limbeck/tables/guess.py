"""Types of text columns, guessed only where the value of every cell gives back its text unchanged."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from limbeck.errors import LimbeckError

# Types that a caller may declare, by the words of the user.
TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "time": pa.timestamp("us"),
}
_EXACT = 1 << 53  # above it a float64 does not distinguish whole numbers
_BOOLS = (("true", "false"), ("True", "False"))
_FORMS = {
    # As Python, NumPy and Arrow print floats: no leading zeros, no +, no trailing zeros except ".0".
    "float": r"^(0|-?(0\.(0|[0-9]*[1-9])|[1-9][0-9]{0,14}(\.(0|[0-9]*[1-9]))?)(e[+-][0-9]{2,3})?)$",
    "time": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?$",
}
_FLOAT_LENGTH = 24  # characters of the longest float64 as it is printed
_SAMPLE = 100


def parse_types(text: str | None) -> dict[str, str]:
    """Parse types by column from the user's ``NAME=TYPE, NAME=TYPE``.

    Raises:
        LimbeckError: the form is another one, a type is unknown, or a column is named twice.
    """
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        name, mark, kind = (word.strip() for word in part.rpartition("="))
        if not part.strip():
            continue
        if not mark or not name or kind not in TYPES:
            raise LimbeckError(
                f"--types: {part.strip()!r} is not NAME=TYPE; types are {', '.join(TYPES)}",
                code="E-OPTION-FORM",
            )
        if name in found:
            raise LimbeckError(f"--types: {name!r} is named twice; use one type", code="E-OPTION-REPEATED")
        found[name] = kind
    return found


def guess_type(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert a column to whole numbers, floats, booleans, dates or times if all its texts allow it.

    ``007``, ``+49``, ``1.10``, ``1e5``, ``nan`` and whole numbers above 2^53 stay text.
    """
    values = column.drop_null()
    if not len(values):
        return column
    for kind in ("int", "float", "bool", "date", "time"):
        # The first cells rule out most text columns.
        if _read(values.slice(0, _SAMPLE), kind) is not None:
            found = _read(column, kind)
            if found is not None:
                return found
    return column


def declare_type(column: pa.ChunkedArray, kind: str, where: str) -> pa.ChunkedArray:
    """Convert a column to a declared type of `TYPES`.

    Raises:
        LimbeckError: the type is unknown, or a cell has another type; the error names the cell.
    """
    if kind not in TYPES:
        raise LimbeckError(
            f"{where}: there is no type {kind!r}; there are {', '.join(TYPES)}", code="E-OPTION-CHOICE"
        )
    if column.type == TYPES[kind]:
        return column
    try:
        return column.cast(TYPES[kind])
    except pa.ArrowException:
        cells = (cell for cell in pc.unique(column.drop_null()).to_pylist() if not _casts(cell, kind))
        raise LimbeckError(
            f"{where}: {next(cells, '?')!r} is not {kind}; correct it or declare text", code="E-TABLE-TYPE"
        ) from None


def _casts(cell: object, kind: str) -> bool:
    try:
        pa.scalar(cell).cast(TYPES[kind])
    except pa.ArrowException:
        return False
    return True


def _read(texts: pa.ChunkedArray, kind: str) -> pa.ChunkedArray | None:
    """Return the values of texts that all have the one printed form of a type, else None."""
    if kind == "bool":
        if not any(_all(pc.is_in(texts, pa.array([*pair, None]))) for pair in _BOOLS):
            return None
        true = pc.is_in(texts, pa.array([pair[0] for pair in _BOOLS]))
        return pc.if_else(pc.is_valid(texts), true, pa.scalar(None, pa.bool_()))
    if kind in _FORMS and not _all(pc.match_substring_regex(_few(texts), _FORMS[kind])):
        return None
    try:
        values = texts.cast(TYPES[kind])
    except pa.ArrowException:
        return None
    if kind == "int":
        low, high = (pc.min_max(values)[end].as_py() for end in ("min", "max"))
        zero = pc.and_(pc.starts_with(texts, "0"), pc.greater(pc.binary_length(texts), 1))
        if (
            low < -_EXACT
            or high > _EXACT
            or _any(zero)
            or any(_any(pc.starts_with(texts, m)) for m in ("-0", "+"))
        ):
            return None
    if kind == "float":
        longest = pc.max(pc.binary_length(texts)).as_py()
        return values if longest <= _FLOAT_LENGTH and _all(pc.is_finite(values)) else None
    if kind == "date":
        lengths = pc.min_max(pc.binary_length(texts))
        return values if lengths["min"].as_py() == lengths["max"].as_py() == len("2020-01-31") else None
    return values


def _few(texts: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the distinct texts where the first ones repeat: a pattern is slower than a search for equal
    texts."""
    first = texts.slice(0, 10 * _SAMPLE)
    return pc.unique(texts) if 2 * len(pc.unique(first)) <= len(first) else texts


def _all(found: object) -> bool:
    return bool(pc.all(found).as_py())


def _any(found: object) -> bool:
    return bool(pc.any(found).as_py())
