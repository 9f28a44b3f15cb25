"""What the columns of the hits cost: one take for all hits, and the other parts of a query.

    python benchmarks/hit_rows.py [--items 100000] [--out docs/results/parts/hit-rows.json]

Items have random 64-bit codes and the columns of a collection of captioned pictures. Times are processor time per
query of ten hits, the median of several rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import limbeck
from limbeck.files import write_json
from limbeck.search import SearchOptions
from limbeck.search.searcher import HIDDEN

QUERIES, ROUNDS = 200, 7
WORDS = ("dog", "beach", "street", "red", "house", "child", "boat", "sky")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/hit-rows.json"))
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (options.items, 8), dtype=np.uint8)
    words = rng.integers(0, len(WORDS), (options.items, 4))
    items = {
        "id": [f"picture-{row}" for row in range(options.items)],
        "path": [f"folder/{row}.jpg" for row in range(options.items)],
        "labels": [[WORDS[word] for word in row[:3]] for row in words],
        "captions": [[f"a {WORDS[row[0]]} and a {WORDS[row[n]]}" for n in range(4)] for row in words],
    }
    with tempfile.TemporaryDirectory() as work:
        index = limbeck.Index.build(Path(work) / "i", codes, items=items)
        found = index.find(codes[:QUERIES], SearchOptions(10))
        every = np.concatenate([one.rows for one in found])
        steps: dict[str, Callable[[], object]] = {
            "search by point, one at a time": lambda: [
                index.search(points=code, k=10) for code in codes[:QUERIES]
            ],
            "its ranking": lambda: [index.find(codes[q : q + 1], SearchOptions(10)) for q in range(QUERIES)],
            "columns, one take per query": lambda: [index.store.metadata(one.rows, HIDDEN) for one in found],
            "columns, one take per hit": lambda: [index.store.metadata([row], HIDDEN) for row in every],
            "columns, one take for 32 queries": lambda: [
                index.store.metadata(every[first : first + 320], HIDDEN)
                for first in range(0, len(every), 320)
            ],
        }
        result = {"items": options.items, "ms per query": {name: timed(step) for name, step in steps.items()}}
    write_json(options.out, result)
    print(result)


def timed(step: Callable[[], object]) -> float:
    """Return milliseconds per query."""
    step()
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        step()
        rounds.append((time.process_time() - began) / QUERIES * 1e3)
    return round(float(np.median(rounds)), 4)


if __name__ == "__main__":
    main()
