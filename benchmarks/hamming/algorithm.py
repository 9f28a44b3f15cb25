"""What an adapter offers: an index over packed codes, and the settings under which it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

Setting = Mapping[str, int | float]


class Index(Protocol):
    """A built index.

    Attributes:
        files: bytes of its files and of the codes that it searches in place; its memory is measured besides.
    """

    files: int

    def search(self, queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        """Row numbers (Q, k) of the nearest codes to queries (Q, bytes); -1 where there are fewer."""


@dataclass(frozen=True)
class Algorithm:
    """An index of a library.

    Attributes:
        library: distribution whose version is printed.
        build: codes (N, bytes), an empty folder and the build parameters → index.
        parameters: of the build.
        settings: under which the index is asked, from fast to thorough.
        exact: whether every answer is right by design.
        lengths: of codes that it can take; None for any multiple of 64.
        most: codes that it is built over at most unless it is named.
    """

    library: str
    build: Callable[[np.ndarray, Path, Setting], Index]
    parameters: Setting = field(default_factory=dict)
    settings: Sequence[Setting] = ({},)
    exact: bool = False
    lengths: tuple[int, ...] | None = None
    most: int = 10**9


@dataclass
class Asked:
    """An index made of a function (queries, k, setting) → rows."""

    ask: Callable[[np.ndarray, int, Setting], np.ndarray]
    files: int = 0

    def search(self, queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        """Ask the function."""
        return self.ask(queries, k, setting)


def steps(name: str, *values: float) -> list[Setting]:
    """One setting per value of a parameter."""
    return [{name: value} for value in values]
