"""Where the detail of a caption shows: recall by its length, and depth of a caption against its own first half.

    python benchmarks/hmid_net_detail.py RUN … --data runs/flickr8k --out docs/results/parts/detail.json

Depth is the distance from the root: of the hyperboloid its apex, of the sphere the direction of the mean of all
training captions (MERU's choice for CLIP), by angle. A caption's first half (of 8 words or more) says less, so it
should lie nearer the root; Spearman's correlation of depth and number of words asks the same of all captions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.evaluation.encode import encode_pictures, encode_texts
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.files import read_json, write_json

BINS = ((1, 7), (8, 10), (11, 13), (14, 99))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pairs, protocol = Pairs.open(options.data), load_protocol("flickr8k/official")
    found = [measure(run, pairs, protocol) for run in options.runs]
    write_json(options.out, {"bins": [list(own) for own in BINS], "runs": found})


def measure(run: Path, pairs: Pairs, protocol: Any) -> dict[str, Any]:
    """Figures of one run on the query rows."""
    model = limbeck.load(run)
    query = resolve_splits(protocol, pairs).query
    rows, texts = query.rows, query.texts
    flat = [text for own in texts for text in own]
    words = np.array([len(text.split()) for text in flat])
    side = encode_texts(model, texts, rows)
    scores = score_retrieval(model.space, encode_pictures(model, pairs, rows), side, [10])
    ranks = np.array(scores.per_query["t2i"], float)
    long = np.flatnonzero(words >= 8)
    halves = model.encode_text([" ".join(flat[i].split()[: words[i] // 2]) for i in long])
    root = None if model.space.has_cones else mean_direction(model, pairs, protocol)
    whole, half = depth(model.space, side.points, root), depth(model.space, halves, root)
    result = {
        "run": run.name,
        "seed": read_json(run / "result.json")["seed"],
        "r@10": float((ranks <= 10).mean()),
        "by_words": [float((ranks[(words >= a) & (words <= b)] <= 10).mean()) for a, b in BINS],
        "captions": [int(((words >= a) & (words <= b)).sum()) for a, b in BINS],
        "half_nearer_root": float((half < whole[long]).mean()),
        "spearman_words_depth": float(spearmanr(words, whole).statistic),
    }
    print(result, flush=True)
    return result


def mean_direction(model: Any, pairs: Pairs, protocol: Any) -> np.ndarray:
    """Unit direction of the mean training caption, (width,)."""
    train = resolve_splits(protocol, pairs).train
    points = encode_texts(model, train.texts, train.rows).points
    mean = points.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def depth(space: Any, points: np.ndarray, root: np.ndarray | None) -> np.ndarray:
    """Distance from the root, (N,)."""
    if root is None:
        return np.asarray(space.radius(points))
    return np.asarray(np.arccos(np.clip(points @ root, -1, 1)))


if __name__ == "__main__":
    main()
