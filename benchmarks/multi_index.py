"""Multi-index hashing beside the exact scan: one query over 64-bit codes, both exact.

    python benchmarks/multi_index.py --sizes 1e6 1e7 --source INDEX --work DIR --out FILE.json

Codes are those of `search_data.py`: random ones, and real ones (an index tiled, each bit flipped with a probability
of .02 to .2, the queries held out). The scan on 1 and 2 threads and the engine on 1 take turns; a query that the
engine gives up is scanned, and that time counts. `cpu_…` is processor time of all threads, which a busy machine
lengthens less. Every answer is compared with the scan's, row by row.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.files import write_json
from limbeck.index.engines.base import Points
from limbeck.index.engines.mih import MultiIndex
from limbeck.index.exact import search_codes
from metrics_and_search import machine
from search import command, interleaved, say, spread
from search_data import codes_of

Row = dict[str, Any]


def built(folder: Path, codes: np.ndarray, parts: int) -> tuple[MultiIndex, Row]:
    """The engine over codes, built once, and what that took."""
    row: Row = {"parts": parts}
    if not folder.exists():
        folder.mkdir(parents=True)
        start = time.perf_counter()
        MultiIndex.write(folder, Points([codes], np.asarray), {"parts": parts})
        row["build_s"] = round(time.perf_counter() - start, 2)
    row["bytes_an_item"] = round(sum(file.stat().st_size for file in folder.iterdir()) / len(codes), 1)
    return MultiIndex(folder, len(codes)), row


def measure(engine: MultiIndex, codes: np.ndarray, queries: np.ndarray, k: int) -> list[Row]:
    """Times of the scan and of the engine in turns, the work of the engine, and whether they agree."""
    params = engine.search_params()[0]

    def ask(turn: int) -> tuple[np.ndarray, np.ndarray]:
        found = engine.search(queries[turn : turn + 1], k, params, None)
        if found.rows[0, 0] < 0 or found.distances is None:
            return search_codes(queries[turn : turn + 1], codes, k)
        return found.distances, found.rows

    sides: dict[str, Callable[[int], Any]] = {
        "scan 1": lambda turn: search_codes(queries[turn : turn + 1], codes, k, threads=1),
        "scan 2": lambda turn: search_codes(queries[turn : turn + 1], codes, k, threads=2),
        "mih": ask,
    }
    processor: dict[str, list[float]] = {name: [] for name in sides}

    def counted(name: str, turn: int) -> None:
        start = time.process_time()
        sides[name](turn)
        processor[name].append(time.process_time() - start)

    found = interleaved(len(queries), {name: functools.partial(counted, name) for name in sides})
    distances, rows = search_codes(queries, codes, k)
    same = all(
        np.array_equal(answer[0][0], distances[q]) and np.array_equal(answer[1][0], rows[q])
        for q, answer in enumerate(map(ask, range(len(queries))))
    )
    nearest, work = engine.nearest(engine.cut(queries), k, 8 * codes.shape[1], params, None)
    table: list[Row] = []
    for name, seconds in found.items():
        spent = {
            f"cpu_{key}": value for key, value in spread(processor[name][1:]).items()
        }  # the first compiles
        table.append({"k": k, "engine": name, **spread(seconds), **spent})
    about: Row = {}
    for name in ("p50_ms", "p95_ms", "cpu_p50_ms", "cpu_p95_ms"):
        scan = min(row[name] for row in table[:2])
        about[f"times_scan_{name.removesuffix('_ms')}"] = round(scan / table[2][name], 2)
    about["same_as_scan"] = same
    about["given_up"] = round(float((nearest[:, 0] < 0).mean()), 4)
    for name, column in (("buckets", work[:, 0]), ("codes_looked_at", work[:, 1])):
        about[name] = {f"p{share}": int(np.percentile(column, share)) for share in (50, 95)}
    about["kth_distance"] = {
        f"p{share}": int(np.percentile(distances[:, -1], share)) for share in (5, 50, 95)
    }
    table[2] |= about
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e6, 1e7])
    parser.add_argument("--data", nargs="+", choices=("random", "real"), default=["random", "real"])
    parser.add_argument("--parts", nargs="+", type=int, default=[3, 4])
    parser.add_argument("--source", type=Path, help="index of 64-bit codes that real codes are tiled from")
    parser.add_argument(
        "--work", type=Path, default=Path("bench-search"), help="codes and engines are kept here"
    )
    parser.add_argument("--queries", type=int, default=200, help="of the 1,000 held out")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    about = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **machine()}
    rows: list[Row] = []
    for size in asked.sizes:
        for kind in asked.data:
            codes, queries = codes_of(kind, int(size), asked.work, asked.source)
            for parts in asked.parts:
                engine, build = built(asked.work / f"mih-{kind}-{int(size)}-{parts}", codes, parts)
                for k in (10, 100):
                    of: Row = {"data": kind, "n": len(codes), **build}
                    rows += [say(of | row) for row in measure(engine, codes, queries[: asked.queries], k)]
                if asked.out:
                    write_json(asked.out, {"machine": about, "command": command(), "rows": rows})


if __name__ == "__main__":
    main()
