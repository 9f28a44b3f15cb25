"""What an engine is: written over points into a folder, opened from it, asked for candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from limbeck.errors import LimbeckError

Setting = dict[str, int]


@dataclass(frozen=True)
class Option:
    """A whole number that a user may choose when an engine is built."""

    name: str
    default: int
    low: int
    high: int


@dataclass(frozen=True)
class RowMask:
    """The rows that may be found.

    Attributes:
        mask: bool (rows,).
        share: of the rows, above 0.
    """

    mask: np.ndarray
    share: float


@dataclass(frozen=True)
class Candidates:
    """What an engine found.

    Attributes:
        rows: int64 (Q, m), each at most once a query; -1 after the last where there are fewer.
        distances: int32 (Q, m), true Hamming distances; None where the space shall score the rows.
        squares: float32 (Q, m), squared distances of `Space.coordinates`; None where they are not known well.
    """

    rows: np.ndarray
    distances: np.ndarray | None = None
    squares: np.ndarray | None = None


class Points:
    """The points that an engine is built over: arrays in row order, made ready piece by piece.

    Args:
        parts: stored points (n_i, width), memory-mapped or not.
        make: what an engine reads of a piece; (n, width) to (n, columns).
    """

    def __init__(self, parts: Sequence[np.ndarray], make: Callable[[np.ndarray], np.ndarray]) -> None:
        self._parts, self._make = parts, make
        self.rows = sum(len(part) for part in parts)
        self.columns: int = make(parts[0][:1]).shape[1]

    def pieces(self, rows: int = 1 << 18) -> Iterator[np.ndarray]:
        """Every point in order, at most ``rows`` at a time."""
        for part in self._parts:
            for start in range(0, len(part), rows):
                yield self._make(part[start : start + rows])

    def sample(self, rows: int, seed: int = 0) -> np.ndarray:
        """Up to ``rows`` different points, drawn by the seed, in row order."""
        rows = min(rows, self.rows)
        chosen = np.sort(np.random.default_rng(seed).choice(self.rows, rows, replace=False))
        found, start = [], 0
        for part in self._parts:
            here = chosen[(chosen >= start) & (chosen < start + len(part))] - start
            if len(here):
                found.append(self._make(np.asarray(part[here])))
            start += len(part)
        return np.concatenate(found)


class Engine(Protocol):
    """A structure in a folder of its own, opened; rows are those of the points it was written over."""

    name: ClassVar[str]

    def __init__(self, folder: Path, rows: int) -> None:
        """Open what `write` wrote."""

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """What may be chosen when it is built over so many points."""

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Build over points into an empty folder."""

    def settings(self) -> list[Setting]:
        """Settings of a search, from fast to thorough; ``shortlist`` is the least number of candidates."""

    def search(
        self, queries: np.ndarray, count: int, setting: Setting, allowed: RowMask | None
    ) -> Candidates:
        """Up to ``count`` candidates for each query (Q, columns), allowed rows only.

        A filter that lets a share s of the rows through widens the search by 1/s, so that as many allowed
        points are looked at as without it.
        """


@runtime_checkable
class ExactEngine(Protocol):
    """An engine that misses nothing, and so finds everything within a radius as well.

    It may give up a query, by no candidates at all, where the scan of all points would be faster.
    """

    def within(
        self, queries: np.ndarray, radius: int, setting: Setting, allowed: RowMask | None
    ) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """Distances and rows (m,) within a radius for each query (Q, columns); None for one given up."""


def choose_options(cls: type[Engine], rows: int, columns: int, given: Mapping[str, int]) -> dict[str, int]:
    """The options of an engine with what was given put over the defaults.

    Raises:
        LimbeckError: an unknown option, no whole number, out of bounds.
    """
    known = {option.name: option for option in cls.options(rows, columns)}
    for name, value in given.items():
        if name not in known:
            hint = f"choose from {', '.join(known)}" if known else "it has none"
            raise LimbeckError(f"engine: {cls.name} has no option {name!r}; {hint}")
        low, high = known[name].low, known[name].high
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise LimbeckError(f"engine: {name}={value!r} is not a whole number from {low} to {high}")
    return {name: int(given.get(name, option.default)) for name, option in known.items()}


def widened(value: int, allowed: RowMask | None, most: int) -> int:
    """A number of things to look at, divided by the share of rows that are allowed."""
    return min(most, value if allowed is None else int(np.ceil(value / allowed.share)))


def packed_left(rows: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Move rows of -1 (Q, m) behind the others, which keep their order; further arrays follow them."""
    order = np.argsort(rows < 0, axis=1, kind="stable")
    return [np.take_along_axis(array, order, axis=1) for array in (rows, *others)]
