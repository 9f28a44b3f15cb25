"""Search at scale, side by side in one run on one machine.

    python benchmarks/search.py --sizes 1e6 1e7 1e8 --source INDEX --work DIR --out FILE.json

Parts (`--parts`): `scan` one query over all codes, beside a plain C pass over the same array and faiss flat;
`batch` 1,000 queries beside faiss flat; `engines` build time, size, recall, latency p50 and p95 and throughput
of approximate engines beside exact search; `filters` the same under filters; `memory` resident size of a fresh
process that opens an index and searches it; `lorentz` a million points of the hyperboloid; `usearch` its graph
over codes (takes minutes a million). The sides of a comparison take turns, so that a busy neighbour slows both
alike; latencies are medians of `--repeats` (21). Codes are made once and kept in `--work`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.files import write_json
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.calibration import build_engine
from limbeck.index.engine_selection import Engines
from limbeck.index.engines import engine_names
from limbeck.index.exact import search_codes
from limbeck.index.query import ExactSearch, SearchOptions
from limbeck.index.store import IndexStore
from metrics_and_search import machine
from search_data import c_pass, codes_of, index_of

Row = dict[str, Any]
PARTS = ("scan", "batch", "engines", "filters", "memory", "lorentz", "usearch")
SHARES = (0.5, 0.1, 0.01, 0.001)


def interleaved(repeats: int, tasks: dict[str, Callable[[int], Any]]) -> dict[str, list[float]]:
    """Seconds of each task, in turns; a task is told which turn it is. One call each beforehand.

    Each turn has an order of its own: who comes after a neighbour over the same array finds it half in the cache.
    """
    order = np.random.default_rng(0)
    for task in tasks.values():
        task(0)
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats):
        for name in order.permutation(list(tasks)).tolist():
            start = time.perf_counter()
            tasks[name](turn)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(seconds: Sequence[float]) -> Row:
    """Milliseconds: p50, p95, best."""
    p50, p95, best = 1e3 * np.percentile(seconds, [50, 95, 0])
    return {"p50_ms": round(float(p50), 5), "p95_ms": round(float(p95), 5), "best_ms": round(float(best), 5)}


def say(row: Row) -> Row:
    """Print a row as it is measured, with the load at that moment."""
    row["load"] = round(os.getloadavg()[0], 2)
    print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def flat_of(codes: np.ndarray) -> Any:
    """faiss flat over codes."""
    import faiss

    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    for start in range(0, len(codes), 1 << 22):
        index.add(np.ascontiguousarray(codes[start : start + (1 << 22)]))
    return index


def faiss_with(flat: Any, threads: int, queries: np.ndarray, k: int) -> Any:
    """Search with so many threads."""
    import faiss

    faiss.omp_set_num_threads(threads)
    return flat.search(queries, k)


def measure_scan(codes: np.ndarray, queries: np.ndarray, about: Row, threads: int, repeats: int) -> list[Row]:
    """One query: ours, the C pass and a C sum on the same threads, faiss flat on 1 and on all."""
    one_pass, total, flat, rows = c_pass(), c_pass("total"), flat_of(codes), []
    for k in (10, 100):
        sides: dict[str, Callable[[int], Any]] = {
            "limbeck": lambda t, k=k: search_codes(queries[t : t + 1], codes, k, threads=threads),
            "C pass": lambda t: one_pass(codes, queries[t], threads),
            "C sum": lambda t: total(codes, queries[t], threads),
            "faiss 1": lambda t, k=k: faiss_with(flat, 1, queries[t : t + 1], k),
            f"faiss {threads}": lambda t, k=k: faiss_with(flat, threads, queries[t : t + 1], k),
        }
        found = interleaved(repeats, sides)
        medians = {name: float(np.median(seconds)) for name, seconds in found.items()}
        better = min(medians[name] for name in medians if name.startswith("faiss"))
        for name, seconds in found.items():
            row = {"part": "scan", **about, "k": k, "engine": name, "threads": threads, **spread(seconds)}
            if name == "limbeck":
                row["of_c_pass"] = round(medians[name] / medians["C pass"], 3)
                row["faiss_times"] = round(better / medians[name], 3)
            if name == "C sum":
                row["gb_s"] = round(codes.nbytes / medians[name] / 1e9, 2)
            rows.append(say(row))
    return rows


def measure_batch(
    codes: np.ndarray, queries: np.ndarray, about: Row, threads: int, repeats: int
) -> list[Row]:
    """Many queries at once beside faiss flat on 1 and on all threads."""
    flat, rows = flat_of(codes), []
    asked = queries if len(codes) < 5e7 else queries[:100]
    for k in (10, 100):
        sides: dict[str, Callable[[int], Any]] = {
            "limbeck": lambda _, k=k: search_codes(asked, codes, k, threads=threads),
            "faiss 1": lambda _, k=k: faiss_with(flat, 1, asked, k),
            f"faiss {threads}": lambda _, k=k: faiss_with(flat, threads, asked, k),
        }
        found = interleaved(repeats, sides)
        medians = {name: float(np.median(seconds)) for name, seconds in found.items()}
        better = min(medians[name] for name in medians if name.startswith("faiss"))
        for name, seconds in found.items():
            row = {"part": "batch", **about, "k": k, "queries": len(asked), "engine": name, **spread(seconds)}
            row["queries_s"] = round(len(asked) / medians[name], 1)
            if name == "limbeck":
                row["faiss_times"] = round(better / medians[name], 3)
            rows.append(say(row))
    return rows


def measure_engines(
    store: IndexStore, queries: np.ndarray, about: Row, names: Sequence[str], repeats: int, recall: float
) -> list[Row]:
    """Build and measure each engine on the held-out queries; its chosen setting beside exact search."""
    rows, exact = [], ExactSearch(store)
    for name in names:
        start = time.perf_counter()
        derived = build_engine(store, name, queries=queries[:500], recall=recall)
        measured = derived.measured
        assert measured is not None  # build_engine stored it
        row = {"part": "engines", **about, "engine": name, "options": derived.options}
        row |= {"build_s": derived.seconds, "megabytes": round(derived.bytes / 1e6, 1)}
        row["measure_s"] = round(time.perf_counter() - start - derived.seconds, 1)
        row |= {"settings": asdict(measured)["entries"], "exact_below": measured.exact_below}
        choice = Engines(store).choose(SearchOptions(engine=name, recall=recall))
        asked = queries[500:]
        found = interleaved(
            max(repeats, min(200, len(asked))),
            {
                "engine": lambda t, c=choice, a=asked: c.search(a[t % len(a)][None], 10),
                "exact": lambda t, a=asked: exact(a[t % len(a)][None], 10),
            },
        )
        row |= {"setting": choice.params, **spread(found["engine"]), "exact": spread(found["exact"])}
        row["times_exact"] = round(float(np.median(found["exact"]) / np.median(found["engine"])), 2)
        limit = exact(asked, 10)[0][:, -1:]
        start = time.perf_counter()
        scores = choice.search(asked, 10)[0]
        row["queries_s"] = round(len(asked) / (time.perf_counter() - start), 1)
        row["recall_10"] = round(
            float((store.space.score_sign * scores >= store.space.score_sign * limit).mean()), 4
        )
        rows.append(say(row))
    return rows


def measure_filters(
    store: IndexStore, queries: np.ndarray, about: Row, name: str, recall: float
) -> list[Row]:
    """An engine under random filters beside exact search under the same."""
    exact, rows = ExactSearch(store), []
    choice = Engines(store).choose(SearchOptions(engine=name, recall=recall))
    assert isinstance(choice.search, ApproximateSearch)
    draws = np.random.default_rng(5).random(store.rows, dtype=np.float32)
    for share in SHARES:
        mask = draws < share
        asked = queries[500:600]
        found = interleaved(
            len(asked),
            {
                "engine": lambda t, a=asked, m=mask: choice.search(a[t][None], 10, m),
                "exact": lambda t, a=asked, m=mask: exact(a[t][None], 10, m),
            },
        )
        scores, hits = choice.search(asked, 10, mask)
        limit = exact(asked, 10, mask)[0][:, -1:]
        row = {"part": "filters", **about, "engine": name, "setting": choice.params, "share": share}
        row |= {**spread(found["engine"]), "exact": spread(found["exact"])}
        row["recall_10"] = round(float((scores <= limit).mean()), 4)
        row |= {"all_pass": bool(mask[hits].all()), "hits": hits.shape[1]}
        rows.append(say(row))
    return rows


def resident() -> dict[str, float]:
    """Megabytes of this process: resident now, of which files, and at most so far."""
    text = Path("/proc/self/status").read_text()
    found = {line.split(":")[0]: float(line.split()[1]) / 1e3 for line in text.splitlines() if " kB" in line}
    return {"mb": found["VmRSS"], "of_files_mb": found["RssFile"], "peak_mb": found["VmHWM"]}


def child(path: Path, engine: str, recall: float, queries: np.ndarray) -> Row:
    """Open an index, search it exactly and through an engine; what that takes."""
    found: Row = {"imported": resident()}
    search_codes(queries[:2], queries, 1)  # compiled or read from the cache, so that opening is timed alone
    start = time.perf_counter()
    store = IndexStore.open(path)
    exact = ExactSearch(store)
    found |= {"open_s": round(time.perf_counter() - start, 5), "opened": resident()}
    start = time.perf_counter()
    exact(queries[:1], 10)
    found["first_query_s"] = round(time.perf_counter() - start, 5)
    found["exact"] = spread([timed(exact, queries[t : t + 1]) for t in range(21)]) | resident()
    if engine != "exact":
        choice = Engines(store).choose(SearchOptions(engine=engine, recall=recall))
        search, found["setting"] = choice.search, choice.params
        found["approximate"] = spread([timed(search, queries[t : t + 1]) for t in range(200)]) | resident()
    return found


def timed(search: Callable[..., Any], queries: np.ndarray) -> float:
    start = time.perf_counter()
    search(queries, 10)
    return time.perf_counter() - start


def measure_memory(
    path: Path, queries: np.ndarray, about: Row, engine: str, recall: float, work: Path
) -> Row:
    """`child` in a process of its own."""
    file = work / "queries.npy"
    np.save(file, queries)
    words = [
        sys.executable,
        __file__,
        "--child",
        path,
        "--engine",
        engine,
        "--recall",
        recall,
        "--queries",
        file,
    ]
    answer = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
    return say({"part": "memory", **about, "engine": engine, **json.loads(answer.stdout)})


def measure_usearch(codes: np.ndarray, queries: np.ndarray, about: Row) -> list[Row]:
    """The graph of usearch over the same codes (pip install usearch)."""
    from usearch.index import Index

    index = Index(ndim=8 * codes.shape[1], metric="hamming", dtype="b1")
    start = time.perf_counter()
    index.add(np.arange(len(codes)), np.ascontiguousarray(codes))
    row = {"part": "usearch", **about, "engine": "usearch", "build_s": round(time.perf_counter() - start, 2)}
    row["megabytes"] = round(index.memory_usage / 1e6, 1)
    limit = search_codes(queries, codes, 10)[0][:, -1:]
    rows = []
    for expansion in (64, 256, 1024):
        index.expansion_search = expansion
        seconds = [timed(index.search, queries[t]) for t in range(200)]
        found = np.stack([index.search(query, 10).distances for query in queries[:200]])
        recall = float((found <= limit[:200]).mean())
        rows.append(
            say(
                {**row, "setting": {"expansion": expansion}, **spread(seconds), "recall_10": round(recall, 4)}
            )
        )
    return rows


def measure_lorentz(count: int, dim: int, work: Path, repeats: int, recall: float) -> list[Row]:
    """Exact top 10 against float64 brute force; the throughput of approximate engines beside exact search."""
    from limbeck.spaces import Lorentz
    from lorentz_search import agreement, brute_force, clustered

    space = Lorentz(dim, 1.0)
    both = clustered(space, count + 1000, 0, spread=0.6)
    points, queries = both[:count], both[count:]
    store = index_of(points, work / f"lorentz-{dim}-{count}.index", space)
    exact, about = ExactSearch(store), {"data": f"lorentz {dim}-d", "n": count}
    truth, _ = brute_force(space, queries[:100], points, 10)
    order, same = agreement(space, queries[:100], points, truth, exact(queries[:100], 10)[1])
    rows = [say({"part": "lorentz", **about, "engine": "exact", "same_order": order, "same_set": same})]
    for name in engine_names("vectors"):
        if name == "faiss-flat":
            continue
        derived = build_engine(store, name, queries=queries[:500], recall=recall)
        choice = Engines(store).choose(SearchOptions(engine=name, recall=recall))
        asked = queries[500:]
        found = interleaved(
            repeats,
            {
                "engine": lambda _, c=choice, a=asked: c.search(a, 10),
                "exact": lambda _, a=asked: exact(a[:100], 10),
            },
        )
        engine_s, exact_s = (float(np.median(found[side])) for side in ("engine", "exact"))
        scores, limit = choice.search(asked, 10)[0], exact(asked, 10)[0][:, -1:]
        row = {
            "part": "lorentz",
            **about,
            "engine": name,
            "options": derived.options,
            "build_s": derived.seconds,
        }
        row |= {"megabytes": round(derived.bytes / 1e6, 1), "setting": choice.params}
        row |= {
            "recall_10": round(float((scores <= limit).mean()), 4),
            "queries_s": round(len(asked) / engine_s, 1),
        }
        row |= {
            "exact_queries_s": round(100 / exact_s, 1),
            "times_exact": round(len(asked) / engine_s * exact_s / 100, 2),
        }
        assert derived.measured is not None
        row["settings"] = asdict(derived.measured)["entries"]
        rows.append(say(row))
    return rows


def command() -> str:
    """The command line, folders by name."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *words])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e6, 1e7, 1e8])
    parser.add_argument("--data", nargs="+", choices=("random", "real"), default=["random", "real"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS[:5]])
    parser.add_argument("--source", type=Path, help="index of 64-bit codes that real codes are tiled from")
    parser.add_argument(
        "--engines",
        nargs="+",
        default=["ivf", "faiss-ivf"],
        help="for engines; the first for filters, memory",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("bench-search"), help="codes and indexes are kept here"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--dim", type=int, default=64, help="of the Lorentz points")
    parser.add_argument("--out", type=Path)
    for name in ("--child", "--engine", "--queries"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(Path(asked.child), asked.engine, asked.recall, np.load(asked.queries))))
        return
    asked.work.mkdir(parents=True, exist_ok=True)
    about = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **machine()}
    print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
    rows: list[Row] = []
    for size in asked.sizes:
        count = int(size)
        if "lorentz" in asked.parts:
            rows += measure_lorentz(count, asked.dim, asked.work, asked.repeats, asked.recall)
        for kind in asked.data if set(asked.parts) - {"lorentz"} else []:
            codes, queries = codes_of(kind, count, asked.work, asked.source)
            of: Row = {"data": kind, "n": count}
            if "scan" in asked.parts:
                rows += measure_scan(codes, queries, of, asked.threads, asked.repeats)
            if "batch" in asked.parts:
                rows += measure_batch(codes, queries, of, asked.threads, asked.repeats)
            if "usearch" in asked.parts:
                rows += measure_usearch(codes, queries, of)
            if not {"engines", "filters", "memory"} & set(asked.parts):
                continue
            store = index_of(codes, asked.work / f"{kind}-{count}.index")
            if "engines" in asked.parts:
                rows += measure_engines(store, queries, of, asked.engines, asked.repeats, asked.recall)
            if "filters" in asked.parts:
                rows += measure_filters(store, queries, of, asked.engines[0], asked.recall)
            if "memory" in asked.parts:
                rows.append(
                    measure_memory(store.path, queries, of, asked.engines[0], asked.recall, asked.work)
                )
            if asked.out:  # as far as it has come: the large sizes take long
                write_json(asked.out, {"machine": about, "command": command(), "rows": rows})
    if asked.out:
        write_json(asked.out, {"machine": about, "command": command(), "rows": rows})


if __name__ == "__main__":
    main()
