"""An index in Milvus beside its own exact engine: time to load, latency, and whether the answers are the same.

    python benchmarks/milvus.py INDEX milvus://HOST:PORT/NAME --lists 0 --out FILE.json

The collection is loaded (and takes its name over from another index only with --replace). Queries are items with
bits flipped, or moved a little; sides take turns; latencies are medians of 21 queries asked alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from limbeck.files import write_json
from limbeck.index.milvus.push import push_index
from limbeck.index.milvus.search import open_search
from limbeck.index.query import ExactSearch
from limbeck.index.store import IndexStore
from metrics_and_search import machine


def queries(store: IndexStore, count: int = 100) -> np.ndarray:
    """Items, codes with a tenth of their bits flipped."""
    rng = np.random.default_rng(0)
    points = store.points_at(rng.choice(store.rows, count, replace=False))
    if store.space.storage == "codes":
        return points ^ np.packbits(rng.random((count, 8 * store.space.width)) < 0.1, axis=1)
    return np.stack(
        [store.space.interpolate(a, b, 0.1) for a, b in zip(points, np.roll(points, 1, 0), strict=True)]
    )


def resident(pid: int | None) -> float | None:
    """Megabytes of a process of this machine."""
    if pid is None:
        return None
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("address", help="milvus://HOST:PORT/NAME, with ?nprobe=N for lists")
    parser.add_argument("--lists", type=int, default=0)
    parser.add_argument("--replace", action="store_true")
    parser.add_argument("--pid", type=int, help="of a server on this machine, for its memory")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    before = resident(args.pid)
    start = time.perf_counter()
    pushed = push_index(args.index, args.address.partition("?")[0], nlist=args.lists, replace=args.replace)
    seconds = time.perf_counter() - start
    store = IndexStore.open(args.index)
    asked, remote, exact = queries(store), open_search(store, args.address), ExactSearch(store)
    rows = []
    for k in (10, 100):
        alone: dict[str, list[float]] = {"milvus": [], "exact": []}
        for q in range(22):  # the first is not counted
            for name, search in (("milvus", remote), ("exact", exact)):
                start = time.perf_counter()
                search(asked[q : q + 1], k)
                alone[name].append(1e3 * (time.perf_counter() - start))
        start = time.perf_counter()
        scores, found = remote(asked, k)
        batch = 1e3 * (time.perf_counter() - start) / len(asked)
        wanted, wanted_rows = exact(asked, k)
        sign = store.space.score_sign
        row = {"k": k, "batch_ms_a_query": round(batch, 3), "same": bool((found == wanted_rows).all())}
        row["recall"] = round(float((sign * scores >= sign * wanted[:, -1:]).mean()), 4)
        for name, times in alone.items():
            row[f"{name}_p50_ms"], row[f"{name}_p95_ms"] = (
                round(float(np.quantile(times[1:], share)), 3) for share in (0.5, 0.95)
            )
        rows.append(row)
        print(json.dumps(row), flush=True)
    value = {
        "machine": machine(),
        "items": pushed.rows,
        "lists": args.lists,
        "probes": args.address.partition("=")[2],
        "push_s": round(seconds, 1),
        "server_mb_before": before,
        "server_mb_after": resident(args.pid),
        "rows": rows,
    }
    print(json.dumps(value))
    if args.out is not None:
        write_json(args.out, value)


if __name__ == "__main__":
    main()
