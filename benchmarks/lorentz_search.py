"""Does Lorentz search return the geodesic top-k, and in what time?

    python benchmarks/lorentz_search.py [--points 100000] [--queries 200] [--dim 256] [--k 10] [--out FILE]

Clustered random points on the hyperboloid, radii 0 to 4 (in units of 1/√curv). The truth is a brute force over
all points in float64. Each engine answers with and without `limbeck.index.exact_rescore`; an answer agrees with the
truth if at each place it has the same row, or one whose float64 distance differs by less than 1e-9.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.environment import environment
from limbeck.files import write_json
from limbeck.index.exact import search_vectors
from limbeck.index.exact_rescore import Source, longest_row, nearest
from limbeck.spaces import Lorentz

TIE = 1e-9  # in units of 1/√curv
Answer = tuple[np.ndarray, np.ndarray]


def clustered(space: Lorentz, n: int, seed: int, *, far: float = 4.0, spread: float = 0.15) -> np.ndarray:
    """(n, dim) points about one centre for every 50 of them; radii up to about ``far``/√curv."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, n // 50), space.dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    centres *= rng.uniform(0, far, (len(centres), 1))
    noise = rng.standard_normal((n, space.dim)) * spread / np.sqrt(space.dim)
    tangent = centres[rng.integers(0, len(centres), n)] + noise * rng.uniform(0, 1, (n, 1))
    r = np.linalg.norm(tangent, axis=1, keepdims=True)
    return (np.sinh(r) / r * tangent / np.sqrt(space.curv)).astype(np.float32)


def brute_force(space: Lorentz, queries: np.ndarray, items: np.ndarray, k: int) -> tuple[Answer, float]:
    """((distances, rows) of the k nearest by (distance, row), seconds a query).

    By the published formula, acosh(-curv<x, y>)/√curv, in float64: its error is below `TIE` for distances
    from 1e-3 on. No code is shared with what is judged.
    """
    start, c, found = time.perf_counter(), space.curv, []
    x = items.astype(np.float64)
    x_time = np.sqrt(1 / c + np.sum(x**2, axis=1))
    for y in queries.astype(np.float64):
        inner = x @ y - x_time * np.sqrt(1 / c + y @ y)
        distances = np.arccosh(np.maximum(-c * inner, 1)) / np.sqrt(c)
        near = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
        order = near[np.lexsort((near, distances[near]))][:k]
        found.append((distances[order], order))
    seconds = (time.perf_counter() - start) / len(queries)
    scores, rows = zip(*found, strict=True)
    return (np.array(scores), np.array(rows)), seconds


def agreement(space: Lorentz, queries: np.ndarray, items: np.ndarray, truth: Answer, rows: np.ndarray) -> Any:
    """Shares of queries with the true order, and with the true set; ties aside."""
    distances = np.stack([space.rescore(q[None], items[r]) for q, r in zip(queries, rows, strict=True)])
    tie = TIE / np.sqrt(space.curv)
    ordered = (np.abs(distances - truth[0]) < tie).all(axis=1)
    same_set = (np.abs(np.sort(distances, axis=1) - truth[0]) < tie).all(axis=1)
    distinct = np.array([len(set(line)) == len(line) for line in rows.tolist()])
    return float((ordered & distinct).mean()), float((same_set & distinct).mean())


def engines(items: np.ndarray) -> dict[str, Callable[[np.ndarray, int], Answer]]:
    """Our engine and, where it is installed, a flat inner-product index of faiss."""
    found: dict[str, Callable[[np.ndarray, int], Answer]] = {
        "limbeck": lambda asked, m: search_vectors(asked, items, m)
    }
    try:
        import faiss
    except ImportError:
        return found
    flat = faiss.IndexFlatIP(items.shape[1])
    flat.add(items)
    return found | {"faiss flat inner product": flat.search}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (("points", 100_000), ("queries", 200), ("dim", 256), ("k", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--curv", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()

    space = Lorentz(asked.dim, asked.curv)
    both = clustered(space, asked.points + asked.queries, asked.seed)
    items, queries = both[: asked.points], both[asked.points :]
    k, stored = min(asked.k, asked.points), space.index_items(items)
    truth, seconds = brute_force(space, queries, items, k)
    print(f"{len(items)} points, {len(queries)} queries, dim {asked.dim}, curv {space.curv:g}, top {k}")
    print(
        f"k-th distance: median {np.median(truth[0][:, -1]):.4f}; float64 brute force {seconds * 1e3:.2f} ms"
    )
    longest, rows = longest_row(stored), []
    for name, engine in engines(stored).items():
        source = Source(engine, items.__getitem__, len(items), longest)
        answers: dict[bool, Callable[[np.ndarray], Answer]] = {
            True: lambda q, s=source: nearest(space, s, q, k),  # type: ignore[misc]
            False: lambda q, e=engine: e(space.index_queries(q), k),  # type: ignore[misc]
        }
        for refined, answer in answers.items():
            answer(queries[:2])  # compile, start threads
            start = time.perf_counter()
            found = answer(queries)[1]
            batch = (time.perf_counter() - start) / len(queries)
            start = time.perf_counter()
            for q in range(min(20, len(queries))):
                answer(queries[q : q + 1])
            single = (time.perf_counter() - start) / min(20, len(queries))
            order, same = agreement(space, queries, items, truth, found)
            rows.append(
                {
                    "engine": name,
                    "refined": refined,
                    "same_order": order,
                    "same_set": same,
                    "ms_query_in_batch": round(batch * 1e3, 3),
                    "ms_query_alone": round(single * 1e3, 3),
                }
            )
            print(
                f"{name + (' + refine' if refined else ''):35} order {order:7.2%}  set {same:7.2%}  "
                f"{batch * 1e3:8.3f} ms a query in a batch  {single * 1e3:8.3f} ms alone"
            )
    if asked.out:
        options = {name: value for name, value in vars(asked).items() if name != "out"}
        versions, machine = environment()
        about = {"date": datetime.date.today().isoformat(), "versions": versions, "machine": machine}
        found_by = {"tie": TIE, "brute_force_ms": round(seconds * 1e3, 3), "rows": rows}
        write_json(asked.out, about | options | found_by)


if __name__ == "__main__":
    main()
