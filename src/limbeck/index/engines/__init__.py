"""Contains the search engines: structures that find candidates without reading every point.

Each engine is one module of this package and one entry in `_ENGINES`. It knows points and row numbers, but
not segments, ids or removed rows. `limbeck.index.ann_search` searches the segments that the engine does not
cover, computes exact scores and their order, and falls back to the exact scan if candidates are too few.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Literal

from limbeck.errors import LimbeckError
from limbeck.index.engines.base import Engine

# storage -> name -> (module, class); imported at first use, because faiss is optional and slow to import.
_ENGINES: dict[str, dict[str, tuple[str, str]]] = {
    "codes": {
        "ivf": ("ivf", "InvertedCodes"),
        "prefix": ("prefix", "PrefixColumn"),
        "mih": ("mih", "MultiIndex"),
        "faiss-flat": ("faiss_flat", "FlatCodes"),
        "faiss-ivf": ("faiss_ivf", "IvfCodes"),
        "faiss-hnsw": ("faiss_hnsw", "HnswCodes"),
        "faiss-multihash": ("faiss_multihash", "MultiHashCodes"),
    },
    "vectors": {
        "faiss-flat": ("faiss_flat", "FlatVectors"),
        "faiss-ivf": ("faiss_ivf", "IvfVectors"),
        "faiss-hnsw": ("faiss_hnsw", "HnswVectors"),
        "faiss-ivfpq": ("faiss_ivfpq", "IvfPqVectors"),
    },
}


def engine_names(storage: Literal["codes", "vectors"]) -> list[str]:
    """Return the names of the engines for codes or vectors, without "exact", which needs no structure."""
    return list(_ENGINES[storage])


def engine_class(storage: Literal["codes", "vectors"], name: str) -> type[Engine]:
    """Return the engine class of a name.

    Raises:
        LimbeckError: there is no such engine for this kind of points, or faiss is not installed.
    """
    if name not in _ENGINES[storage]:
        other = next((kind for kind in _ENGINES if name in _ENGINES[kind]), None)
        hint = f"{name} searches {other}; " if other else ""
        raise LimbeckError(
            f"engine: no {name!r} for {storage}; {hint}choose from {', '.join(engine_names(storage))}"
        )
    if name.startswith("faiss-") and importlib.util.find_spec("faiss") is None:
        raise LimbeckError(f"engine: {name} needs faiss; pip install 'limbeck[faiss]'")
    module, cls = _ENGINES[storage][name]
    found: type[Engine] = getattr(importlib.import_module(f"{__name__}.{module}"), cls)
    return found
