"""How figures are printed: filters of the templates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from limbeck.evaluation.results import DIRECTIONS
from limbeck.reporting.tables import figure
from results.data import Rows, values
from results.pairs import Pair


def fixed(value: float, digits: int = 2) -> str:
    """``3.14``."""
    return f"{value:.{digits}f}"


def short(value: float, digits: int = 3) -> str:
    """A score without its leading nought: ``.831``."""
    return figure(value, digits)


def power(value: float) -> str:
    """A tiny figure: ``3e-07``."""
    return f"{value:.0e}"


def upward(value: float, digits: int = 3) -> str:
    """A bound that holds: rounded up."""
    return figure(math.ceil(value * 10**digits) / 10**digits, digits)


def signed(value: float, digits: int = 3) -> str:
    """``+.038`` or ``−.002``."""
    return ("−" if value < 0 else "+") + figure(abs(value), digits)


def plus(value: float, digits: int = 1) -> str:
    """``+0.4`` or ``-0.4``, as in a plain table."""
    return f"{value:+.{digits}f}"


def thousands(value: float) -> str:
    """``204,800``."""
    return f"{value:,.0f}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """``12.3 ± 0.4``, or the value alone of one run; ``–`` of none."""
    if not len(values):
        return "–"
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {sd(values):.{digits}f}"


def average(values: Sequence[float], digits: int = 2) -> str:
    """The mean, ``–`` of no values."""
    return f"{np.mean(values):.{digits}f}" if len(values) else "–"


def span(values: Iterable[float], digits: int = 3) -> str:
    """``.063 to .075``: least and greatest; one figure where both are printed alike."""
    found = list(values)
    low, high = figure(min(found), digits), figure(max(found), digits)
    return low if low == high else f"{low} to {high}"


def interval(pair: Pair, digits: int = 3) -> str:
    """``+.002 to +.017``."""
    return f"{signed(pair.low or 0.0, digits)} to {signed(pair.high or 0.0, digits)}"


def gap(pair: Pair | Any, digits: int = 3) -> str:
    """``−.012 (−.020 … −.004) *``: a difference with its interval, starred where it counts after Holm."""
    text = signed(pair.mean, digits)
    if pair.low is not None and pair.high is not None:
        text += f" ({signed(pair.low, digits)} … {signed(pair.high, digits)})"
    return text + (" *" if pair.counts else "")


def times(value: float, factor: float) -> float:
    """A product."""
    return value * factor


def mean(values: Sequence[float]) -> float:
    """The mean."""
    return float(np.mean(list(values)))


def sd(values: Sequence[float]) -> float:
    """Standard deviation (n − 1)."""
    return float(np.std(values, ddof=1))


def both(rows: Rows, name: str, digits: int = 3, between: str = "/") -> str:
    """``.843/.822``: the mean of a figure in both directions."""
    found = [values(rows, f"{way} {name}") for way in DIRECTIONS]
    return between.join(figure(mean(own), digits) if own else "–" for own in found)


def level(rows: Rows, name: str, digits: int = 3) -> str:
    """``.843``: the mean of one figure."""
    return figure(mean(values(rows, name)), digits)


def lead(pairs: Mapping[str, Pair], digits: int = 3) -> str:
    """``+.038/+.090``: differences in both directions."""
    return "/".join(signed(pairs[way].mean, digits) for way in DIRECTIONS)


def size(pairs: Mapping[str, Pair], digits: int = 3) -> str:
    """``.038/.090``: the same without signs."""
    return "/".join(figure(abs(pairs[way].mean), digits) for way in DIRECTIONS)


def means(pairs: Iterable[Pair]) -> list[float]:
    """The mean differences."""
    return [pair.mean for pair in pairs]


def word(number: int) -> str:
    """``five``; figures above twelve."""
    words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
    words.append("twelve")
    return words[number] if number < len(words) else str(number)


def worded(settings: Mapping[str, Any], form: str, otherwise: str) -> str:
    """Settings as words, each by a format of key and value."""
    return ", ".join(form.format(key, value) for key, value in settings.items()) or otherwise


FILTERS = {
    f.__name__: f
    for f in (
        fixed, short, power, upward, signed, plus, thousands, spread, average, span, interval, gap, mean, sd,
        both, worded, times, level, lead, size, means, word,
    )
}  # fmt: skip
