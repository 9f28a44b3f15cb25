"""Measure one algorithm in a process of its own: build it, ask it under each setting, print a row per setting."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hamming import with_faiss, with_limbeck, with_others
from benchmarks.hamming.algorithm import Algorithm, Index, Setting
from benchmarks.hamming.codes import Task

ALGORITHMS = with_limbeck.ALGORITHMS | with_faiss.ALGORITHMS | with_others.ALGORITHMS
ROUNDS, ALONE, SECONDS = 3, 200, (0.05, 1.0)
"""Rounds of which the best counts, queries asked one by one, least and most processor seconds of a round."""
Row = dict[str, Any]


def memory() -> int:
    """Bytes that this process owns, mapped files left out; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def recall(task: Task, rows: np.ndarray) -> float:
    """Share of the k nearest that were found: distinct rows at most as far as the exact k-th neighbour.

    The distances are computed here, from the codes; what the library says they are does not count.
    """
    found = 0
    for query, line, limit in zip(task.queries, rows, task.limit, strict=False):
        codes = task.codes[np.unique(line[line >= 0])]
        found += int((np.bitwise_count(codes ^ query).sum(axis=1) <= limit).sum())
    return found / rows.size


def timed(search: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    start, spent = time.perf_counter(), time.process_time()
    search()
    return time.perf_counter() - start, time.process_time() - spent


def alone(index: Index, task: Task, k: int, setting: Setting) -> tuple[np.ndarray, Row]:
    """Rows of queries asked one by one, and what the best of the rounds took."""
    found: list[np.ndarray] = []
    best, wall = float("inf"), np.empty(0)
    for number in range(ROUNDS):
        seconds, began = [], time.process_time()
        while (spent := time.process_time() - began) < SECONDS[1]:
            query = task.queries[len(seconds) % ALONE][None]
            start = time.perf_counter()
            rows = index.search(query, k, setting)
            seconds.append(time.perf_counter() - start)
            if number == 0 and len(found) < ALONE:
                found.append(rows)
            if len(seconds) >= ALONE and spent > SECONDS[0]:
                break
        each = (time.process_time() - began) / len(seconds)
        if each < best:
            best, wall = each, np.array(seconds)
    p50, p95 = 1e3 * np.percentile(wall, [50, 95])
    return np.concatenate(found), {
        "queries": len(found), "best_search_time": float(wall.mean()), "cpu_search_time": best, "qps": 1 / best,
        "p50_ms": float(p50), "p95_ms": float(p95),
    }  # fmt: skip


def together(index: Index, task: Task, k: int, setting: Setting, most: float) -> Row:
    """Queries per second of the processor where all queries are asked at once; fewer if that takes too long."""
    asked, times = max(1, min(len(task.queries), int(most))), 0
    began = time.process_time()
    while (spent := time.process_time() - began) < SECONDS[0] or not times:
        index.search(task.queries[:asked], k, setting)
        times += 1
    return {"batch": asked, "batch_qps": asked * times / spent}


def measure(name: str, task: Task, k: int) -> None:
    """Print a row (a line of JSON) for every setting of an algorithm."""
    algorithm: Algorithm = ALGORITHMS[name]
    with tempfile.TemporaryDirectory() as folder:
        index: list[Index] = []
        before = memory()
        wall, spent = timed(
            lambda: index.append(algorithm.build(task.codes, Path(folder), algorithm.parameters))
        )
        about: Row = {
            "algorithm": name, "library": algorithm.library, "exact": algorithm.exact,
            "version": importlib.metadata.version(algorithm.library), "parameters": dict(algorithm.parameters),
            "dataset": task.name, "distance": "hamming", "count": k, "build_time": wall, "cpu_build_time": spent,
            "index_size": (max(0, memory() - before) + index[0].files) // 1024,
        }  # fmt: skip
        index[0].search(task.queries[:2], k, algorithm.settings[0])  # compiles and warms up
        for setting in algorithm.settings:
            rows, seconds = alone(index[0], task, k, setting)
            seconds |= together(index[0], task, k, setting, 2 * seconds["qps"])
            figures = {"setting": dict(setting), "recall": recall(task, rows), **seconds}
            print(json.dumps({key: _short(value) for key, value in (about | figures).items()}), flush=True)


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value
