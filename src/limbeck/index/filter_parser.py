"""Parses filters such as ``labels has sky and width > 300`` (docs/search.md). The grammar is:

expression := term {"or" term}          term := factor {"and" factor}
factor     := "not" factor | "(" expression ")" | test
test       := COLUMN ("=" | "!=" | "<" | "<=" | ">" | ">=") VALUE
            | COLUMN ("has" | "in") (VALUE | "(" VALUE {"," VALUE} ")")
            | COLUMN ("like" | "startswith") VALUE | COLUMN "is" ["not"] "null"
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError, proposal
from limbeck.index.filter_ast import COMPARISONS, Condition, Joined, Not, Test, Value

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<name>`[^`]+`)"
    r"|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))"
    r"|(?P<sign><=|>=|!=|=|<|>|\(|\)|,)|(?P<word>[^\W\d]\w*))"
)
_VERBS = (*COMPARISONS, "has", "in", "like", "startswith", "is")
_KEYWORDS = {"and", "or", "not", "has", "in", "like", "startswith", "is", "null"}
_MAX_DEPTH = 50
_MAX_LENGTH = 10_000
_MAX_DIGITS = 300  # of a whole number, more than 64 bits need
_MIN_EXPONENT = -400  # of a decimal; finer than any column


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class Where:
    """Holds a parsed filter.

    Attributes:
        text: the filter as given.
        condition: its syntax tree.
    """

    def __init__(self, text: str, schema: pa.Schema) -> None:
        """Parse a filter for tables of a schema.

        Raises:
            LimbeckError: the text is not a filter, a column is unknown, or a value has another type.
        """
        if not isinstance(text, str) or not text.strip():
            raise LimbeckError(
                "where: the filter is empty; write for example: labels has sky and width > 300",
                code="E-FILTER-SYNTAX",
            )
        if len(text) > _MAX_LENGTH:
            raise LimbeckError(
                f"where: {len(text)} characters exceed the limit of {_MAX_LENGTH}; use in (…, …)",
                code="E-FILTER-SYNTAX",
            )
        self.text = text
        self.condition = _Parser(text, schema).parse()
        self.condition.check(schema)

    def mask(self, table: pa.Table) -> np.ndarray:
        """Return bool (N,): the rows for which the filter is true; ``table`` only needs a method `column`."""
        return self.condition.mask(table)


def _number(text: str) -> int | float:
    whole = re.fullmatch(r"[-+]?\d+", text)
    fits = len(text) < _MAX_DIGITS and -(2**63) <= int(text) < 2**64 if whole else math.isfinite(float(text))
    if not fits:
        raise LimbeckError(
            f"where: {text[:24]} is outside the range of every column; write a smaller number",
            code="E-FILTER-VALUE",
        )
    return int(text) if whole else float(text)


def _exact(text: str) -> Decimal:
    number = Decimal(text)
    if not number:
        return Decimal(0)
    if number.adjusted() < _MIN_EXPONENT:  # comparing it exactly would take that many digits
        raise LimbeckError(
            f"where: {text[:24]} is too near to 0 for any column; write 0", code="E-FILTER-VALUE"
        )
    return number


class _Parser:
    """Parses the tokens by recursive descent."""

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._schema, self._next, self._depth = schema, 0, 0
        self._tokens: list[_Token] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                bad = text[at:].lstrip()[:20]
                raise LimbeckError(
                    f"where: cannot read {bad!r}; put text in 'quotes' and names in `quotes`",
                    code="E-FILTER-SYNTAX",
                )
            kind = str(match.lastgroup)
            self._tokens.append(_Token(kind, match.group(kind), match.start(kind)))
            at = match.end()

    def parse(self) -> Condition:
        found = self._expression()
        if self._next < len(self._tokens):
            self._refuse("and, or, or the end")
        return found

    def _expression(self) -> Condition:
        parts = [self._term()]
        while self._take("or"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Joined(tuple(parts), every=False)

    def _term(self) -> Condition:
        parts = [self._factor()]
        while self._take("and"):
            parts.append(self._factor())
        return parts[0] if len(parts) == 1 else Joined(tuple(parts), every=True)

    def _factor(self) -> Condition:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise LimbeckError(
                f"where: the filter has more than {_MAX_DEPTH} levels of brackets; use fewer",
                code="E-FILTER-SYNTAX",
            )
        found: Condition
        if self._take("not"):
            found = Not(self._factor())
        elif self._take("("):
            found = self._expression()
            self._need(")")
        else:
            found = self._test()
        self._depth -= 1
        return found

    def _test(self) -> Condition:
        column = self._column()
        verb = next((verb for verb in _VERBS if self._take(verb)), None)
        if verb is None:
            self._refuse(f"one of {' '.join(_VERBS)} after {column!r}")
        if verb == "is":
            negated = self._take("not")
            self._need("null")
            test = Test(column, "is null")
            return Not(test) if negated else test
        if verb not in ("has", "in"):
            value = self._value(column)
            if verb in ("like", "startswith") and not isinstance(value, str):
                raise LimbeckError(
                    f"where: {verb} needs text, not {value}; put it in 'quotes'", code="E-FILTER-TYPE"
                )
            return Test(column, verb, (value,))
        if not self._take("("):
            return Test(column, verb, (self._value(column),))
        values = [self._value(column)]
        while self._take(","):
            values.append(self._value(column))
        self._need(")")
        return Test(column, verb, tuple(values))

    def _column(self) -> str:
        token = self._peek()
        if token is None or token.kind not in ("word", "name") or token.text.lower() in _KEYWORDS:
            self._refuse("the name of a column")
        self._next += 1
        name = token.text.strip("`")
        if name not in self._schema.names:
            hint = proposal(name, self._schema.names)
            raise LimbeckError(f"where: there is no column {name!r}; {hint}", code="E-FILTER-COLUMN")
        return name

    def _value(self, column: str) -> Value:
        """Return the next value; a number to compare with decimals is a Decimal, which loses no digit."""
        token = self._peek()
        if token is None or token.kind not in ("text", "number", "word") or token.text.lower() in _KEYWORDS:
            self._refuse("a value (text in 'quotes', a number, true or false)")
        self._next += 1
        if token.kind == "text":
            mark = token.text[0]
            return token.text[1:-1].replace(2 * mark, mark)
        if token.kind == "number":
            number = _number(token.text)
            kind = self._schema.field(column).type
            inner = kind.value_type if pa.types.is_list(kind) else kind
            return _exact(token.text) if pa.types.is_decimal(inner) else number
        return {"true": True, "false": False}.get(token.text.lower(), token.text)

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, wanted: str) -> bool:
        token = self._peek()
        found = token is not None and token.kind in ("word", "sign") and token.text.lower() == wanted
        self._next += found
        return found

    def _need(self, wanted: str) -> None:
        if not self._take(wanted):
            self._refuse(repr(wanted))

    def _refuse(self, wanted: str) -> NoReturn:
        token = self._peek()
        found = f"{token.text!r} at character {token.at + 1}" if token else "the end"
        raise LimbeckError(f"where: expected {wanted}, found {found}", code="E-FILTER-SYNTAX")
