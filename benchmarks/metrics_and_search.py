"""Time mean average precision and exact search beside what people use now, in one run on one machine.

    python benchmarks/metrics_and_search.py [--json FILE] [--big] [--quick]

The two sides of a comparison take turns, so that a busy neighbour slows both alike. Times are medians; beside
them stands the best of the repeats, since other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.files import write_json
from limbeck.index.exact import search_codes, search_vectors
from limbeck.metrics import hamming_map

THREADS = (1, 2)
Row = dict[str, Any]


def take_turns(repeats: int, *tasks: Callable[[], Any]) -> list[tuple[float, float]]:
    """(median, best) seconds of each task, after one call each to compile and to warm the cache."""
    for task in tasks:
        task()
    seconds = np.empty((repeats, len(tasks)))
    for turn in range(repeats):
        for number, task in enumerate(tasks):
            start = time.perf_counter()
            task()
            seconds[turn, number] = time.perf_counter() - start
    return list(zip(np.median(seconds, axis=0).tolist(), seconds.min(axis=0).tolist(), strict=True))


def naive_map(
    queries: np.ndarray, items: np.ndarray, query_labels: np.ndarray, item_labels: np.ndarray
) -> np.ndarray:
    """The loop of the hashing repositories: distances by a product of signs, a sort, a running precision."""
    left, right = (2.0 * np.unpackbits(codes, axis=1).astype(np.float32) - 1 for codes in (queries, items))
    scores = []
    for code, labels in zip(left, query_labels, strict=True):
        relevant = (labels.astype(np.float32) @ item_labels.T.astype(np.float32)) > 0
        distance = 0.5 * (right.shape[1] - code @ right.T)
        hits = relevant[np.argsort(distance, kind="stable")]
        places = np.flatnonzero(hits) + 1
        scores.append(np.mean(np.arange(1, len(places) + 1) / places))
    return np.array(scores)


def peak_memory() -> float:
    """Largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_map(queries: int, items: int, sample: int) -> list[Row]:
    """2,000 x 190,000 codes of 64 bits with 24 labels, unless told otherwise."""
    rng = np.random.default_rng(0)
    data = (
        rng.integers(0, 256, (queries, 8), dtype=np.uint8),
        rng.integers(0, 256, (items, 8), dtype=np.uint8),
        rng.random((queries, 24)) < 0.12,
        rng.random((items, 24)) < 0.12,
    )
    data[2][:, 0] = True  # so that each query has relevant items
    few = (data[0][:sample], data[1], data[2][:sample], data[3])
    what = f"mAP {queries} x {items}, 64 bit, 24 labels"
    rows = []
    for threads in THREADS:
        for ties in ("expected", "id"):
            ((median, best),) = take_turns(5, lambda t=threads, r=ties: hamming_map(*data, ties=r, threads=t))
            rows.append(row(what, f"limbeck, ties={ties}", threads, median, best))
    rows[-1]["peak_memory_mb"] = round(peak_memory())
    (naive,) = take_turns(1, lambda: naive_map(*few))
    scale = queries / sample
    rows.append(
        row(what, f"argsort loop, {sample} queries scaled", os.cpu_count() or 1, *(scale * s for s in naive))
    )
    difference = np.abs(hamming_map(*few, ties="id").per_query - naive_map(*few)).max()
    rows[-1]["largest_difference"] = float(difference)
    return rows


def measure_codes(count: int, repeats: int) -> list[Row]:
    """Single queries and batches of 100 over random 64-bit codes, against faiss."""
    import faiss

    rng = np.random.default_rng(1)
    items = rng.integers(0, 2**64, count, dtype=np.uint64).view(np.uint8).reshape(count, 8)
    queries = rng.integers(0, 256, (100, 8), dtype=np.uint8)
    flat = faiss.IndexBinaryFlat(64)
    flat.add(items)
    rows = []
    for threads in THREADS:
        faiss.omp_set_num_threads(threads)
        for asked, k in ((1, 10), (1, 100), (100, 10), (100, 100)):
            turn = iter(range(10**9))

            def block(width: int = asked, turn: Any = turn) -> np.ndarray:
                return queries[next(turn) % 100 :][:width] if width == 1 else queries

            ours, theirs = take_turns(
                repeats if asked == 1 else max(3, repeats // 10),
                lambda k=k, t=threads, b=block: search_codes(b(), items, k, threads=t),
                lambda k=k, b=block: flat.search(b(), k),
            )
            same = np.array_equal(search_codes(queries[:5], items, k)[0], flat.search(queries[:5], k)[0])
            what = f"{asked} of {count:.0e} codes, k={k}"
            rows.append(row(what, "limbeck", threads, *ours) | {"same_distances": same})
            rows.append(row(what, "faiss IndexBinaryFlat", threads, *theirs) | {"ratio": theirs[0] / ours[0]})
    return rows


def measure_vectors(count: int, dim: int, repeats: int) -> list[Row]:
    """Single queries and batches of 100 over unit vectors, against faiss."""
    import faiss

    rng = np.random.default_rng(2)
    items, queries = (rng.standard_normal((n, dim), dtype=np.float32) for n in (count, 100))
    flat = faiss.IndexFlatIP(dim)
    flat.add(items)
    rows = []
    for threads in THREADS:
        faiss.omp_set_num_threads(threads)
        for asked in (1, 100):
            ours, theirs = take_turns(
                repeats,
                lambda a=asked, t=threads: search_vectors(queries[:a], items, 10, threads=t),
                lambda a=asked: flat.search(queries[:a], 10),
            )
            what = f"{asked} of {count:.0e} vectors, d={dim}, k=10"
            rows.append(row(what, "limbeck", threads, *ours))
            rows.append(row(what, "faiss IndexFlatIP", threads, *theirs) | {"ratio": theirs[0] / ours[0]})
    return rows


def row(what: str, engine: str, threads: int, median: float, best: float) -> Row:
    return {"what": what, "engine": engine, "threads": threads, "median_s": median, "best_s": best}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = next(
            line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")
        )
        popcount = "avx512_vpopcntdq" in info
    except (OSError, StopIteration):
        model, popcount = platform.processor(), None
    return {
        "processor": model,
        "vector_popcount": popcount,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--big", action="store_true", help="also search 1e8 codes (needs 2 GB)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        results = measure_map(50, 5_000, 5) + measure_codes(10_000, 5) + measure_vectors(5_000, 64, 3)
    else:
        results = measure_map(2_000, 190_000, 20) + measure_codes(10**6, 51) + measure_codes(10**7, 31)
        results += measure_vectors(10**6, 64, 9)
        if options.big:
            results += measure_codes(10**8, 11)
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"{'what':<44}{'engine':<38}{'threads':>8}{'median ms':>12}{'best ms':>10}  notes")
    for line in results:
        rest = {k: v for k, v in line.items() if k not in ("what", "engine", "threads", "median_s", "best_s")}
        notes = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in rest.items())
        times = f"{1e3 * line['median_s']:>12.3f}{1e3 * line['best_s']:>10.3f}"
        print(f"{line['what']:<44}{line['engine']:<38}{line['threads']:>8}{times}  {notes}")
    if options.json:
        write_json(options.json, {"machine": about, "results": results})


if __name__ == "__main__":
    main()
