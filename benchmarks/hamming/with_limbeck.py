"""limbeck's own: the scan, the inverted file, and multi-index hashing with the scan behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.hamming.algorithm import Algorithm, Asked, Index, Setting, steps
from limbeck.index.engines import engine_class
from limbeck.index.engines.base import Engine, Points, resolve_build_params
from limbeck.index.exact import search_codes


def scan(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """The codes as they lie."""
    return Asked(lambda queries, k, setting: search_codes(queries, codes, k, threads=1)[1], codes.nbytes)


def engine(name: str, codes: np.ndarray, folder: Path) -> tuple[Engine, int]:
    """An engine with its default build parameters, and the bytes of its files."""
    cls = engine_class("codes", name)
    cls.write(folder, Points([codes], np.asarray), resolve_build_params(cls, *codes.shape, {}))
    return cls(folder, len(codes)), sum(file.stat().st_size for file in folder.iterdir())


def ivf(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """Lists of codes around centroids."""
    built, size = engine("ivf", codes, folder)
    return Asked(lambda queries, k, setting: built.search(queries, k, dict(setting), None).rows, size)


def mih(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """Multi-index hashing; queries that it gives up are scanned."""
    built, size = engine("mih", codes, folder)
    budget = built.search_params()[0]

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        rows = built.search(queries, k, budget, None).rows
        given_up = rows[:, 0] < 0
        if given_up.any():
            rows[given_up] = search_codes(queries[given_up], codes, k, threads=1)[1]
        return rows

    return Asked(ask, size + codes.nbytes)


ALGORITHMS = {
    "limbeck scan": Algorithm("limbeck", scan, exact=True),
    "limbeck mih": Algorithm("limbeck", mih, exact=True),
    "limbeck ivf": Algorithm("limbeck", ivf, settings=steps("nprobe", 1, 4, 16, 64, 256)),
}
