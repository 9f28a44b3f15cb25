"""Defines the interface of an engine: write it from points into a folder, open it, search candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from limbeck.errors import LimbeckError

SearchParams = dict[str, int]
# build parameters by their names in version 0.1
_RENAMED = {"lists": ("nlist",), "links": ("M",), "ef": ("ef_construction",), "parts": ("M", "nhash")}


@dataclass(frozen=True)
class BuildParam:
    """Describes a build parameter of an engine, a whole number from ``low`` to ``high``."""

    name: str
    default: int
    low: int
    high: int


@dataclass(frozen=True)
class RowMask:
    """Holds the rows that a search may return.

    Attributes:
        mask: bool (rows,), True for allowed rows.
        share: the share of allowed rows, above 0.
    """

    mask: np.ndarray
    share: float


@dataclass(frozen=True)
class Candidates:
    """Holds the candidates that an engine returned.

    Attributes:
        rows: int64 (Q, m), each row at most once per query; -1 fills the end if there are fewer.
        distances: int32 (Q, m), exact Hamming distances; None if the space has to score the rows.
        squares: float32 (Q, m), squared distances of `Space.coordinates`; None if the engine has only rough
            ones.
    """

    rows: np.ndarray
    distances: np.ndarray | None = None
    squares: np.ndarray | None = None


class Points:
    """Gives an engine the points that it is built over, in row order and piece by piece.

    Args:
        parts: stored points (n_i, width), memory-mapped or not.
        make: converts a piece (n, width) to the engine's input (n, columns).

    Attributes:
        rows: the number of points.
        columns: the number of columns after ``make``.
    """

    def __init__(self, parts: Sequence[np.ndarray], make: Callable[[np.ndarray], np.ndarray]) -> None:
        self._parts, self._make = parts, make
        self.rows = sum(len(part) for part in parts)
        self.columns: int = make(parts[0][:1]).shape[1]

    def pieces(self, rows: int = 1 << 18) -> Iterator[np.ndarray]:
        """Yield all points in row order, at most ``rows`` points per piece."""
        for part in self._parts:
            for start in range(0, len(part), rows):
                yield self._make(part[start : start + rows])

    def sample(self, rows: int, seed: int = 0) -> np.ndarray:
        """Return up to ``rows`` random points without repetition, in row order."""
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
    """Searches a structure in a folder; its rows are those of the points that it was built over."""

    name: ClassVar[str]

    def __init__(self, folder: Path, rows: int) -> None:
        """Open the folder that `write` wrote for ``rows`` points."""

    @classmethod
    def build_params(cls, rows: int, columns: int) -> list[BuildParam]:
        """Return the build parameters for ``rows`` points of ``columns`` columns."""

    @classmethod
    def write(cls, folder: Path, points: Points, params: Mapping[str, int]) -> None:
        """Build the engine over points and write it into an empty folder."""

    def search_params(self) -> list[SearchParams]:
        """Return the search parameters, from fast to thorough; ``shortlist`` is the least candidate count."""

    def search(
        self, queries: np.ndarray, count: int, params: SearchParams, allowed: RowMask | None
    ) -> Candidates:
        """Return up to ``count`` allowed candidates for each query (Q, columns).

        A filter that allows a share s of the rows widens the search by 1/s, so that about as many allowed
        points are examined as without it.
        """


@runtime_checkable
class ExactEngine(Protocol):
    """Searches exactly, within a radius as well.

    It may give up a query if a scan of all points would be faster; the query then has no candidates.
    """

    def range_search(
        self, queries: np.ndarray, radius: int, params: SearchParams, allowed: RowMask | None
    ) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """Return distances and rows (m,) within a radius for each query (Q, columns); None if given up."""


def resolve_build_params(
    cls: type[Engine], rows: int, columns: int, given: Mapping[str, int]
) -> dict[str, int]:
    """Return the build parameters of an engine: the given ones, and defaults for the others.

    Raises:
        LimbeckError: a parameter is unknown, not a whole number, or out of range.
    """
    known = {param.name: param for param in cls.build_params(rows, columns)}
    for name, value in given.items():
        if name not in known:
            hint = f"choose from {', '.join(known)}" if known else "it has none"
            hint = next((f"it is called {new} now" for new in _RENAMED.get(name, ()) if new in known), hint)
            raise LimbeckError(
                f"engine: {cls.name} has no build parameter {name!r}; {hint}", code="E-ENGINE-OPTION"
            )
        low, high = known[name].low, known[name].high
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise LimbeckError(
                f"engine: {name}={value!r} is not a whole number from {low} to {high}", code="E-ENGINE-OPTION"
            )
    return {name: int(given.get(name, param.default)) for name, param in known.items()}


def widened(value: int, allowed: RowMask | None, most: int) -> int:
    """Divide a count by the share of allowed rows, round up, and limit it to ``most``."""
    return min(most, value if allowed is None else int(np.ceil(value / allowed.share)))


def packed_left(rows: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Move rows of -1 (Q, m) to the end of each line, and permute the other arrays (Q, m) likewise."""
    order = np.argsort(rows < 0, axis=1, kind="stable")
    return [np.take_along_axis(array, order, axis=1) for array in (rows, *others)]
