"""Contains the search engines: structures that find candidates without reading every point.

Our engines are one module each; those of faiss are rows of a table (`faiss_index`). An engine knows points
and row numbers, but not segments, ids or removed rows. `limbeck.index.ann_search` searches the segments that
the engine does not cover, computes exact scores and their order, and falls back to the exact scan if
candidates are too few.
"""

from __future__ import annotations

from typing import Literal

from limbeck.errors import LimbeckError
from limbeck.index.engines.base import Engine
from limbeck.index.engines.faiss_index import KINDS, faiss_engine
from limbeck.optional_deps import require

# Our engines for codes: name -> (module, class), imported at first use, because numba is slow to import.
_OURS = {"ivf": ("ivf", "InvertedCodes"), "prefix": ("prefix", "PrefixColumn"), "mih": ("mih", "MultiIndex")}


def engine_names(storage: Literal["codes", "vectors"]) -> list[str]:
    """Return the names of the engines for codes or vectors, without "exact", which needs no structure."""
    return [*(_OURS if storage == "codes" else ()), *KINDS[storage]]


def engine_class(storage: Literal["codes", "vectors"], name: str) -> type[Engine]:
    """Return the engine class of a name.

    Raises:
        LimbeckError: there is no such engine for this kind of points, or faiss is not installed.
    """
    names = engine_names(storage)
    if name not in names:
        other: Literal["codes", "vectors"] = "vectors" if storage == "codes" else "codes"
        hint = f"{name} searches {other}; " if name in engine_names(other) else ""
        raise LimbeckError(
            f"engine: there is no {name!r} for {storage}; {hint}choose from {', '.join(names)}",
            code="E-ENGINE-UNKNOWN",
        )
    if name in KINDS[storage]:
        require("faiss")
        return faiss_engine(storage, name)
    module, cls = _OURS[name]
    found: type[Engine] = getattr(require(f"{__name__}.{module}"), cls)
    return found
