"""Whether hits are right as often as their confidence says, on held-out queries of two data sets.

    python benchmarks/confidence.py --flickr8k PAIRS RUN --mirflickr PAIRS RUN [--starter]
        [--out docs/results/parts/confidence.json]

The index holds items that the model was not trained on: the test pictures of Flickr8k with four of their five
captions, and the rows of MIRFlickr's database that are not for training. It is calibrated by its own columns when
it is built. Queries are held out from it: fifth captions and validation pictures; tags and features of the query
split. Right is what the calibration says (`limbeck.search.relevance`). Intervals are bootstraps over queries.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.files import write_json
from limbeck.search import SearchOptions, Term
from limbeck.search.calibrate import calibrate
from limbeck.search.relevance import Relevance
from limbeck.search.searcher import HIDDEN

DEPTHS = (10, 30)
BINS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.85, 0.95, 1.0)
DRAWS = 1000


@dataclass(frozen=True)
class Held:
    """Queries that the index does not hold: points of pictures or texts, and the items that they stand for."""

    name: str
    items: Sequence[dict[str, Any]]
    texts: Sequence[str] | None = None
    points: np.ndarray | None = None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flickr8k", type=Path, nargs=2, required=True)
    parser.add_argument("--mirflickr", type=Path, nargs=2, required=True)
    parser.add_argument(
        "--starter", type=Path, help="an index of Flickr8k's test pictures by the starter model"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/confidence.json"))
    options = parser.parse_args()
    found = {"flickr8k": flickr8k(*options.flickr8k), **mirflickr(*options.mirflickr)}
    if options.starter is not None:
        found["flickr8k, starter"] = starter(options.starter)
    write_json(options.out, found)


def flickr8k(data: Path, run: Path) -> dict[str, Any]:
    """Measure a model that was trained on the training pictures: fifth captions and validation pictures."""
    pairs, model = Pairs.open(data), limbeck.load(run)
    test, val = pairs.split_rows("test"), pairs.split_rows("val")
    points = model.encode_image(pairs.features("mobilenetv2", test))
    items = [{"id": pairs.ids[row], "captions": pairs.captions[row]} for row in test.tolist()]
    others = [{"id": pairs.ids[row], "captions": pairs.captions[row]} for row in val.tolist()]
    pictures = model.encode_image(pairs.features("mobilenetv2", val))
    return measured(
        points,
        [item | {"captions": item["captions"][:4]} for item in items],
        model,
        [
            fifths(items),
            Held("pictures", others, points=pictures),
        ],
    )


def starter(path: Path) -> dict[str, Any]:
    """Measure the starter model, which was trained on no pictures of Flickr8k: fifth captions."""
    store = limbeck.Index.open(path).store
    items = store.metadata(np.arange(store.rows), HIDDEN)
    kept = [{"id": item["id"], "captions": item["captions"][:4]} for item in items]
    return measured(store.points_at(np.arange(store.rows)), kept, limbeck.load("starter"), [fifths(items)])


def fifths(items: Sequence[dict[str, Any]]) -> Held:
    """Return queries of words of the fifth captions, which the index does not hold."""
    held = [item | {"captions": item["captions"][4:]} for item in items]
    relevance, rng = Relevance(items), np.random.default_rng(11)
    asked = [(item, relevance.text(item, rng)) for item in held]
    known = [(item, text) for item, text in asked if text is not None]
    return Held("words of a caption", [item for item, _ in known], [text for _, text in known])


def mirflickr(data: Path, run: Path) -> dict[str, Any]:
    """Measure SODA's codes: on items that were not for training, and on the whole database."""
    pairs, model = Pairs.open(data), limbeck.load(run)
    splits = resolve_splits(load_protocol("mirflickr15k/dcmh"), pairs)
    names = np.array(pairs.label_names)

    def items_of(rows: np.ndarray) -> list[dict[str, Any]]:
        labels = pairs.labels()[rows]
        return [
            {"id": pairs.ids[row], "labels": names[own].tolist(), "tags": pairs.tags[row]}
            for row, own in zip(rows.tolist(), labels, strict=True)
        ]

    asked = items_of(splits.query.rows)
    with_tags = [item for item in asked if item["tags"]]
    held = [
        Held("tags", with_tags, [" ".join(item["tags"]) for item in with_tags]),
        Held("pictures", asked, points=model.encode_image(pairs.features("mobilenetv2", splits.query.rows))),
    ]
    words = [{"id": "", "labels": [name]} for name in names.tolist()]
    one_word = Held("one label as a word", words, [name.replace("_", " ") for name in names.tolist()])
    found = {}
    for name, rows, queries in (
        ("mirflickr", np.setdiff1d(splits.database.rows, splits.train.rows), [*held, one_word]),
        ("mirflickr, with the items that the model was trained on", splits.database.rows, held),
    ):
        points = model.encode_image(pairs.features("mobilenetv2", rows))
        found[name] = measured(points, items_of(rows), model, queries)
    return found


def measured(
    points: np.ndarray, items: Sequence[dict[str, Any]], model: limbeck.DualEncoder, queries: Sequence[Held]
) -> dict[str, Any]:
    """Build indexes with and without columns, ask the queries, and return a table for each."""
    columns = {name: [item[name] for item in items] for name in items[0]}
    result: dict[str, Any] = {"items": len(items)}
    with tempfile.TemporaryDirectory() as work:
        for kind, own in (("relevance", columns), ("chance", {"id": columns["id"]})):
            began = time.process_time()
            index = limbeck.Index.build(Path(work) / kind, points, items=own, model=model, space=model.space)
            built = time.process_time() - began
            calibrate(index)
            seconds = time.process_time() - began - built
            curves = {} if index.calibration is None else index.calibration.curves
            assert all(curve.kind == kind for curve in curves.values())
            result[kind] = {"build_processor_seconds": built, "calibration_processor_seconds": seconds}
            for held in queries:
                there = ("image" if held.texts is None else "text") in curves
                result[kind][held.name] = reliability(index, held, items) if there else "no curve"
    return result


def reliability(index: limbeck.Index, held: Held, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return share of right hits by confidence, for the first 10 and 30 hits of each query."""
    relevance, kept, points = Relevance(items), list(range(len(held.items))), held.points
    if held.texts is not None:
        kept = [number for number, text in enumerate(held.texts) if known(index, text)]
        points = index.encode_queries([[Term(held.texts[number])] for number in kept])[0]
    assert points is not None
    modality = "image" if held.texts is None else "text"
    found = index.find(points, SearchOptions(max(DEPTHS)), modalities=[modality] * len(points))
    rows = []
    for number, one in zip(kept, found, strict=True):
        text = None if held.texts is None else held.texts[number]
        right = relevance.judge(held.items[number], text, [items[row] for row in one.rows.tolist()])
        rows.append((one.confidence, right))
    sure, right = (np.stack(part) for part in zip(*rows, strict=True))
    return {
        "queries": len(kept),
        "right": relevance.right,
        **{f"first {k}": table(sure[:, :k], right[:, :k]) for k in DEPTHS},
    }


def known(index: limbeck.Index, text: str) -> bool:
    try:
        index.check([Term(text)])
    except limbeck.LimbeckError:
        return False
    return True


def table(sure: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """Return a row per range of confidence: hits, queries, mean confidence, share right and its 95 % interval."""
    rng, rows = np.random.default_rng(0), []
    for low, high in itertools.pairwise(BINS):
        within = (sure >= low) & ((sure < high) | (high == BINS[-1]))
        hits, good = within.sum(axis=1), (within & right).sum(axis=1)
        some = np.flatnonzero(hits)
        if not some.size:
            continue
        draws = rng.choice(some, (DRAWS, some.size))
        shares = good[draws].sum(axis=1) / hits[draws].sum(axis=1)
        interval = np.quantile(shares, (0.025, 0.975)).round(4).tolist()
        rows.append(
            {
                "confidence": [low, high],
                "hits": int(hits.sum()),
                "queries": int(some.size),
                "mean_confidence": round(float(sure[within].mean()), 4),
                "right": round(float(right[within].mean()), 4),
                "interval": interval,
            }
        )
    return rows


if __name__ == "__main__":
    main()
