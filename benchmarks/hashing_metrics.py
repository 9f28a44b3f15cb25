"""How far apart the field's metrics are on the same codes: ``python benchmarks/hashing_metrics.py RUN …``.

Each run is encoded once and scored by every rule. Prints Markdown and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.encoders.cache import BackboneCache
from limbeck.evaluation.encode import encode_pictures, encode_texts
from limbeck.evaluation.hashing import SIDES
from limbeck.evaluation.metric_presets import PRESETS
from limbeck.evaluation.run_metadata import read_run_facts
from limbeck.files import write_json
from limbeck.metrics import hamming_map, hamming_ndcg, precision_recall

DEFAULT: dict[str, Any] = {"k": None, "ties": "expected", "normalizer": "relevant", "empty": "skip"}
RULES: dict[str, dict[str, Any]] = {
    "mAP@all, ties in expectation (ours)": {},
    "ties: relevant items first": {"ties": "optimistic"},
    "ties: relevant items last": {"ties": "pessimistic"},
    "ties: by row": {"ties": "id"},
    "k = 5000 over all relevant": {"k": 5000},
    "k = 5000 over min(k, R)": {"k": 5000, "normalizer": "min"},
    "k = 5000 over its hits": {"k": 5000, "normalizer": "hits"},
    "first min(5000, R) relevant items": {"k": 5000, "normalizer": "first_k", "ties": "id"},
    "k = 50 over its hits": {"k": 50, "normalizer": "hits"},
} | {f"like {name}": preset.metric.model_dump(include=set(DEFAULT)) for name, preset in PRESETS.items()}


def sides(run: Path, directions: list[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Codes of queries and database as the directions need them, and the labels of both."""
    needed = {name for direction in directions for name in SIDES[direction]}
    facts = read_run_facts(run)
    pairs = Pairs.open(str(facts.pairs))
    splits = resolve_splits(load_protocol(str(facts.protocol)), pairs)
    model = limbeck.load(run)
    model.cache = BackboneCache()
    codes, labels = {}, {}
    for split, part in (("query", splits.query), ("database", splits.database)):
        if f"{split}_image" in needed:
            codes[f"{split}_image"] = encode_pictures(model, pairs, part.rows).points
        if f"{split}_text" in needed:
            codes[f"{split}_text"] = encode_texts(model, part.texts, part.rows).points
        labels[split] = part.labels
    return codes, labels


def main() -> None:
    """Score each run by every rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--direction", action="append", choices=sorted(SIDES))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    table: dict[str, dict[str, list[float]]] = {}
    for run in given.runs:
        directions = given.direction or list(SIDES)
        codes, labels = sides(run, directions)
        ways = [(codes[SIDES[way][0]], codes[SIDES[way][1]]) for way in directions]
        for rule, change in RULES.items():
            values = [
                hamming_map(q, x, labels["query"], labels["database"], **DEFAULT | change).value
                for q, x in ways
            ]
            table.setdefault(rule, {})[run.name] = values
        for q, x in ways:
            graded = hamming_ndcg(q, x, labels["query"], labels["database"], ks=[1000]).value[1000]
            table.setdefault("NDCG@1000, graded", {}).setdefault(run.name, []).append(graded)
            curve = precision_recall(q, x, labels["query"], labels["database"], ns=[1000])
            table.setdefault("P@1000", {}).setdefault(run.name, []).append(float(curve.precision_at[0]))
            table.setdefault("precision in radius 2", {}).setdefault(run.name, []).append(
                float(curve.precision[2])
            )
    names = [run.name for run in given.runs]
    print("| rule | " + " | ".join(names) + " |\n|:--|" + "--:|" * len(names))
    for rule, row in table.items():
        cells = (" / ".join(f"{v:.3f}".lstrip("0") for v in row[name]) for name in names)
        print(f"| {rule} | " + " | ".join(cells) + " |")
    if given.json:
        write_json(given.json, table)


if __name__ == "__main__":
    main()
