"""Claims of a page, made from its declarative file: one per figure that was asked for, misses included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2

from results.pairs import Pair, correct, figure_name, paired

Context = Mapping[str, Any]
Entry = Mapping[str, Any]
KEYS = {"claim", "value", "unit", "bar", "below", "seeds", "note"}
SHARED = {
    "command",
    "let",
    "each",
    "when",
    "claims",
    "take",
    "corrected",
    "pairs",
    "one",
    "other",
    "figure",
    "names",
}


def claim(
    claim: str, command: str, value: float, unit: str = "", bar: float | None = None, *,
    seeds: list[int] | None = None, below: bool = False, note: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A row of a claims file: met where no bar is set, else at least (``below``: at most) the bar."""
    met = True if bar is None else (value <= bar if below else value >= bar)
    return {
        "claim": claim, "command": command, "value": float(f"{value:.6g}"), "unit": unit, "bar": bar,
        "met": bool(met), "seeds": seeds or [], "note": note,
    }  # fmt: skip


class Claims:
    """Claims as they are made by a program."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, *arguments: Any, **named: Any) -> None:
        """Append a `claim`."""
        self.rows.append(claim(*arguments, **named))


class Reader:
    """Makes claims of the entries of a page's file.

    Args:
        evaluate: value of an expression in a context.
        fill: text of a template in a context.
    """

    def __init__(self, evaluate: Callable[[str, Context], Any], fill: Callable[[str, Context], str]) -> None:
        self.evaluate, self.fill = evaluate, fill
        self.tables: dict[str, list[Pair]] = {}

    def read(self, entries: list[Entry], context: Context) -> list[dict[str, Any]]:
        """Claims of all entries in order; the tables of pairs by name are in ``tables`` afterwards."""
        return [row for entry in entries for row in self._rows(entry, context)]

    def _rows(self, entry: Entry, context: Context) -> Iterator[dict[str, Any]]:
        try:
            yield from self._made(entry, context)
        except (jinja2.TemplateError, TypeError, KeyError, AttributeError) as error:
            said = entry.get("claim") or entry.get("corrected") or entry.get("each") or sorted(entry)
            raise ValueError(f"claims: {said}: {error}") from error

    def _made(self, entry: Entry, context: Context) -> Iterator[dict[str, Any]]:
        unknown = entry.keys() - KEYS - SHARED
        if unknown:
            raise ValueError(f"claims: unknown key {sorted(unknown)[0]!r}; there are {sorted(KEYS | SHARED)}")
        for place in self._places(entry, context):
            if "claims" in entry:
                yield from self.read(entry["claims"], place)
            elif "take" in entry:
                yield from self._value(entry["take"], place)
            elif "corrected" in entry:
                yield from self._corrected(entry, place)
            else:
                yield self._claim(entry, place)

    def _places(self, entry: Entry, context: Context) -> Iterator[Context]:
        """Contexts of an entry: each combination of its loops for which its condition holds."""
        places: list[Context] = [context]
        for name, expression in entry.get("each", {}).items():
            places = [{**p, **_named(name, one)} for p in places for one in self._value(expression, p)]
        for place in places:
            for name, expression in entry.get("let", {}).items():
                place = {**place, name: self._value(expression, place)}
            if self._value(entry.get("when", True), place):
                yield (
                    {**place, "command": self.fill(entry["command"], place)} if "command" in entry else place
                )

    def _value(self, expression: Any, context: Context) -> Any:
        return self.evaluate(expression, context) if isinstance(expression, str) else expression

    def _claim(self, entry: Entry, place: Context) -> dict[str, Any]:
        return claim(
            self.fill(entry["claim"], place), place["command"], self._value(entry["value"], place),
            self.fill(entry.get("unit", ""), place), self._value(entry.get("bar"), place),
            seeds=self._value(entry.get("seeds"), place), below=entry.get("below", False),
            note=self.fill(entry.get("note", ""), place),
        )  # fmt: skip

    def _corrected(self, entry: Entry, context: Context) -> Iterator[dict[str, Any]]:
        pairs = [pair for own in entry["pairs"] for pair in self._pairs(own, context)]
        correct(pairs)
        self.tables[entry["corrected"]] = pairs
        for pair in pairs:
            said = f"{pair.one} minus {pair.other}, {figure_name(pair.figure)}"
            yield claim(
                said, context["command"], pair.mean, pair.unit, pair.bar, seeds=pair.seeds, note=pair.note
            )

    def _pairs(self, entry: Entry, context: Context) -> Iterator[Pair]:
        for place in self._places(entry, context):
            names = [self.fill(name, place) for name in entry.get("names", [])]
            one, other = (self._value(entry[side], place) for side in ("one", "other"))
            for figure in self._figures(entry["figure"]):
                pair = paired(one, other, figure, names or None) if one and other else None
                if pair is not None:
                    pair.bar = self._value(entry.get("bar"), place)
                    yield pair

    def _figures(self, figures: str | list[str]) -> Iterator[str]:
        """Figures as they are named; ``both NAME`` is NAME in both directions."""
        for figure in [figures] if isinstance(figures, str) else figures:
            way, name = figure.split(" ", 1)
            yield from [f"i2t {name}", f"t2i {name}"] if way == "both" else [figure]


def _named(name: str, value: Any) -> dict[str, Any]:
    """A loop over one name, or over several: ``label, rows``."""
    names = [part.strip() for part in name.split(",")]
    return {name: value} if len(names) == 1 else dict(zip(names, value, strict=True))
