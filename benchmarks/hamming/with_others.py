"""Other libraries that install by pip, and numpy as the least that anyone has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hamming.algorithm import Algorithm, Asked, Index, Setting, steps


def numpy_scan(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """XOR, count bits, partition."""
    words = codes.view(np.uint64)

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        found = [
            np.bitwise_count(words ^ word).sum(axis=1, dtype=np.uint16) for word in queries.view(np.uint64)
        ]
        return np.stack([np.argpartition(distances, k)[:k] for distances in found])

    return Asked(ask, codes.nbytes)


def usearch_exact(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """usearch's search without an index."""
    from usearch.index import MetricKind, search

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        return _dense(
            search(codes, queries, k, MetricKind.Hamming, exact=True, threads=1).keys, len(queries), k
        )

    return Asked(ask, codes.nbytes)


def usearch_graph(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """usearch's graph."""
    from usearch.index import Index as Graph

    index = Graph(ndim=8 * codes.shape[1], metric="hamming", dtype="b1", connectivity=16, expansion_add=80)
    index.add(np.arange(len(codes)), codes, threads=1)

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        index.expansion_search = int(setting["expansion"])
        return _dense(index.search(queries, k, threads=1).keys, len(queries), k)

    return Asked(ask)


def pynear_index(kind: str) -> Any:
    """A function that builds an index of pynear by its class."""

    def build(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
        import pynear

        index = getattr(pynear, kind)(**parameters)
        index.set(codes)

        def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
            search: dict[str, Any] = dict(setting)
            if "nprobe" in search:
                index.set_nprobe(search.pop("nprobe"))
            if "ef" in search:
                index.set_ef(search.pop("ef"))
            found: np.ndarray = index.searchKNN_arrays(queries, k, **search)[0]
            return found

        return Asked(ask)

    return build


def annoy_trees(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """annoy's trees; it takes bits as numbers, one item at a time."""
    from annoy import AnnoyIndex

    index = AnnoyIndex(8 * codes.shape[1], "hamming")
    index.set_seed(0)
    for row, code in enumerate(codes):
        index.add_item(row, np.unpackbits(code).tolist())
    index.build(int(parameters["trees"]), n_jobs=1)

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        bits, nodes = np.unpackbits(queries, axis=1).tolist(), int(setting["search_k"])
        found = [index.get_nns_by_vector(query, k, search_k=nodes) for query in bits]
        return _dense(found, len(queries), k)

    return Asked(ask)


def ngt_graph(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """NGT's graph over bytes."""
    import ngtpy

    place = str(folder / "ngt")
    ngtpy.create(place, codes.shape[1], distance_type="Hamming", object_type="Byte")
    index = ngtpy.Index(place)
    index.batch_insert(codes, num_threads=1)

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        answers = [index.search(query, k, epsilon=setting["epsilon"]) for query in queries]
        return _dense([[row for row, _ in answer] for answer in answers], len(queries), k)

    return Asked(ask)


def nmslib_graph(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """nmslib's graph; it takes a code as a text of zeros and ones."""
    import nmslib

    def texts(rows: np.ndarray) -> list[str]:
        return [" ".join(map(str, bits)) for bits in np.unpackbits(rows, axis=1).tolist()]

    index = nmslib.init(
        method="hnsw", space="bit_hamming",
        data_type=nmslib.DataType.OBJECT_AS_STRING, dtype=nmslib.DistType.INT,
    )  # fmt: skip
    index.addDataPointBatch(texts(codes))
    index.createIndex({**parameters, "indexThreadQty": 1, "post": 0})

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        index.setQueryTimeParams(dict(setting))
        found = index.knnQueryBatch(texts(queries), k=k, num_threads=1)
        return _dense([rows for rows, _ in found], len(queries), k)

    return Asked(ask)


def sqlite_vec_table(codes: np.ndarray, folder: Path, parameters: Setting) -> Index:
    """A virtual table of sqlite-vec, in a file."""
    import apsw  # the interpreter's own sqlite3 often loads no extension
    import sqlite_vec

    file = folder / "codes.db"
    base = apsw.Connection(str(file))
    base.enable_load_extension(True)
    base.load_extension(sqlite_vec.loadable_path())
    base.execute(f"CREATE VIRTUAL TABLE codes USING vec0(code bit[{8 * codes.shape[1]}])")
    rows = ((row, code.tobytes()) for row, code in enumerate(codes))
    with base:
        base.executemany("INSERT INTO codes(rowid, code) VALUES (?, vec_bit(?))", rows)
    question = "SELECT rowid FROM codes WHERE code MATCH vec_bit(?) AND k = ?"

    def ask(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
        found = [[row for (row,) in base.execute(question, (query.tobytes(), k))] for query in queries]
        return _dense(found, len(queries), k)

    return Asked(ask, file.stat().st_size)


def _dense(found: Any, queries: int, k: int) -> np.ndarray:
    """Rows (Q, k), -1 where a query has fewer."""
    rows = np.full((queries, k), -1, dtype=np.int64)
    lines = [found] if queries == 1 and np.ndim(found) == 1 else found
    for at, line in enumerate(lines):
        rows[at, : min(k, len(line))] = np.asarray(line, dtype=np.int64)[:k]
    return rows


ALGORITHMS = {
    "numpy": Algorithm("numpy", numpy_scan, exact=True),
    "usearch exact": Algorithm("usearch", usearch_exact, exact=True, most=10**6),
    "sqlite-vec": Algorithm("sqlite-vec", sqlite_vec_table, exact=True, most=10**6),
    "pynear vptree": Algorithm("pynear", pynear_index("VPTreeBinaryIndex"), exact=True, most=10**6),
    "pynear mih": Algorithm(
        "pynear", pynear_index("MIHBinaryIndex"), {"m": 8}, steps("radius", 4, 8, 16), most=10**6
    ),
    "pynear ivf": Algorithm(
        "pynear", pynear_index("IVFFlatBinaryIndex"), {"nlist": 1024}, steps("nprobe", 4, 16, 64), most=10**6
    ),
    "pynear hnsw": Algorithm(
        "pynear", pynear_index("HNSWBinaryIndex"), {"M": 16, "ef_construction": 80}, steps("ef", 64, 256),
        most=10**6,
    ),
    "usearch hnsw": Algorithm("usearch", usearch_graph, {}, steps("expansion", 16, 64, 256), most=10**6),
    "nmslib hnsw": Algorithm(
        "nmslib", nmslib_graph, {"M": 16, "efConstruction": 80}, steps("efSearch", 16, 64, 256), most=10**6
    ),
    "ngt": Algorithm("ngt", ngt_graph, {}, steps("epsilon", 0.1, 0.3, 0.6), most=10**6),
    "annoy": Algorithm("annoy-binary", annoy_trees, {"trees": 10}, steps("search_k", 1000, 10000), most=10**6),
}  # fmt: skip
