"""faiss: flat, inverted file, graph and multi-index hashing over binary codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hamming.algorithm import Algorithm, Asked, Index, Setting, steps

PIECE = 1 << 20


def built(recipe: str, codes: np.ndarray, parameters: Setting) -> Any:
    """An index by its factory string, trained on 32 codes a list."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.index_binary_factory(8 * codes.shape[1], recipe.format(**parameters))
    if not index.is_trained:
        rows = np.random.default_rng(0).choice(len(codes), min(len(codes), 32 * index.nlist), replace=False)
        index.train(np.ascontiguousarray(codes[np.sort(rows)]))
    if hasattr(index, "hnsw"):
        index.hnsw.efConstruction = parameters["ef_construction"]
    for start in range(0, len(codes), PIECE):
        index.add(np.ascontiguousarray(codes[start : start + PIECE]))
    return index


def flat(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """Every code."""
    index = built("BFlat", codes, parameters)
    return Asked(lambda queries, k, setting: index.search(queries, k)[1])


def ivf(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """Lists around centroids, as many as limbeck makes: about 4·√n."""
    index = built("BIVF{nlist}", codes, {"nlist": 2 ** round(np.log2(4 * np.sqrt(len(codes))))})

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        index.nprobe = int(setting["nprobe"])
        found: np.ndarray = index.search(queries, k)[1]
        return found

    return Asked(ask)


def hnsw(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """A graph."""
    index = built("BHNSW{M}", codes, parameters)

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        index.hnsw.efSearch = int(setting["ef_search"])
        found: np.ndarray = index.search(queries, k)[1]
        return found

    return Asked(ask)


def multihash(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """Hash tables over parts of about 16 bits."""
    index = built(f"BHash{codes.shape[1] // 2}x16", codes, parameters)

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        index.nflip = int(setting["nflip"])
        found: np.ndarray = index.search(queries, k)[1]
        return found

    return Asked(ask)


ALGORITHMS = {
    "faiss flat": Algorithm("faiss-cpu", flat, exact=True),
    "faiss ivf": Algorithm("faiss-cpu", ivf, settings=steps("nprobe", 1, 4, 16, 64, 256)),
    "faiss multihash": Algorithm("faiss-cpu", multihash, settings=steps("nflip", 0, 1, 2), most=10**7),
    "faiss hnsw": Algorithm(
        "faiss-cpu", hnsw, {"M": 16, "ef_construction": 80}, steps("ef_search", 16, 64, 256), most=10**6
    ),
}
