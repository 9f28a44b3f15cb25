"""Time a whole evaluation of codes at the field's largest size, beside the loop of the public repositories.

    python benchmarks/evaluation_scale.py [--queries 5000] [--items 190000] [--json docs/results/parts/soda-evaluation.json]

5,000 queries, 190,000 items, 64 bits, 81 classes, four directions (picture and text on either side), random codes that
follow random labels. Ours gives mAP with its floor, precision and recall by radius, P@N, NDCG, the look-up and the
code health of each; the loop gives mAP alone, on so many queries that it ends, its time extrapolated. Peak memory is
that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from claims import Claims
from limbeck.codes import pack_bits
from limbeck.data.protocol import Metric
from limbeck.evaluation.hashing import Labelled, score_hashing
from limbeck.files import write_json
from limbeck.metrics import hamming_map
from limbeck.spaces import Hamming
from metrics_and_search import naive_map

CLASSES, BITS = 81, 64
RULES = Metric().map_rules
STABLE = {"ties": "id"}  # the loop's own order of ties


def made(rows: int, seed: int) -> Labelled:
    """Codes of ``rows`` items: signs of a random map of their labels, a fifth of the bits flipped."""
    rng = np.random.default_rng(seed)
    labels = rng.random((rows, CLASSES)) < 0.03
    labels[np.arange(rows), rng.integers(0, CLASSES, rows)] = True
    plane = np.random.default_rng(0).standard_normal((CLASSES, BITS)).astype(np.float32)
    signs = (labels.astype(np.float32) @ plane > 0) ^ (rng.random((rows, BITS)) < 0.2)
    return Labelled(pack_bits(signs), labels)


def sides(queries: int, items: int) -> list[dict[str, Labelled]]:
    """What two calls of `score_hashing` need for four directions."""
    image, text = (made(queries, seed) for seed in (1, 2))
    of_image, of_text = (made(items, seed) for seed in (3, 4))
    across = {"query_image": image, "query_text": text, "database_image": of_image, "database_text": of_text}
    within = {"query_image": image, "query_text": text, "database_image": of_text, "database_text": of_image}
    return [across, within]


def ours(queries: int, items: int) -> dict[str, float]:
    """Seconds of four directions and the peak memory of this process, after a small call that compiles."""
    for part in sides(64, 2000):
        score_hashing(Hamming(BITS), part, RULES, ceiling=False)
    both = sides(queries, items)
    start = time.perf_counter()
    for part in both:
        score_hashing(Hamming(BITS), part, RULES, ceiling=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def loop(items: int, count: int) -> float:
    """Seconds of one query in the usual loop, mAP alone; and its figures are ours."""
    queries, database = made(count, 1), made(items, 4)
    start = time.perf_counter()
    found = naive_map(queries.points, database.points, queries.labels, database.labels)
    seconds = (time.perf_counter() - start) / count
    same = hamming_map(queries.points, database.points, queries.labels, database.labels, **STABLE)
    np.testing.assert_allclose(found, same.per_query, atol=1e-6)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--items", type=int, default=190_000)
    parser.add_argument("--loop-queries", type=int, default=100)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ours", action="store_true", help="print the figures of ours alone")
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(ours(options.queries, options.items)))
        return
    size = ["--queries", str(options.queries), "--items", str(options.items)]
    told = subprocess.run(
        [sys.executable, __file__, "--ours", *size], check=True, capture_output=True, text=True
    )
    mine = json.loads(told.stdout)
    one = loop(options.items, options.loop_queries)
    whole = one * options.queries * 4
    claims, command = Claims(), "python benchmarks/evaluation_scale.py"
    what = f"{options.queries:,} queries, {options.items:,} items, four directions, {BITS} bits"
    claims.add(f"evaluation: {what}", command, mine["seconds"], "s", 30.0, below=True,
               note="mAP, curves, P@N, NDCG, look-up, code health")  # fmt: skip
    claims.add("evaluation: peak memory of its process", command, mine["memory"], "MB", 1000.0, below=True)
    claims.add("the usual loop, mAP alone", command, whole, "s",
               note=f"from {options.loop_queries} queries of one direction; the same figures")  # fmt: skip
    claims.add("evaluation over the usual loop", command, whole / mine["seconds"], "times faster")
    print("\n".join(claims.table()))
    if options.json is not None:
        write_json(options.json, claims.rows)


if __name__ == "__main__":
    main()
