"""What ranking a short list of codes by the kept embeddings of CLIP gives, on real features.

    python benchmarks/rerank.py --features DIR [--out docs/results/parts/rerank.json]

DIR holds ViT-B/32 features of Flickr8k: ``flickr8k_first100_vitb32_image_text.npz`` (``image`` (100, 512) and
``text`` (500, 512), five captions per picture in the pictures' order) and
``flickr8k_train1000_vitb32_image_fp16.npy`` (1000, 512). The database is the 100 pictures and then the 1,000;
of these nine are the same pictures, which counts against every way alike. The codes are the signs of limbeck's
binary lift (ITQ, 64 bits), fitted to the 1,000 pictures and to the captions that are not asked: no query is
seen. Queries are the 250 captions of the first 50 pictures (with the captions of the other 50 fitted to), the
250 of the other 50, and both together; a query's hit is its own picture alone.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck import Index
from limbeck.encoders.lift_config import BinaryConfig
from limbeck.encoders.lifts import build_lift
from limbeck.files import write_json
from limbeck.search import SearchOptions

BITS, SHORT, KS, HALF = 64, 100, (1, 5, 10), 250


def unit(x: np.ndarray) -> np.ndarray:
    """Rows at length 1, float32."""
    x = x.astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def recall(found: list[list[int]], own: np.ndarray) -> dict[str, float]:
    """Share of the queries whose own picture is among the first k."""
    return {
        f"R@{k}": round(float(np.mean([row in hits[:k] for hits, row in zip(found, own, strict=True)])), 3)
        for k in KS
    }


def measure(pictures: np.ndarray, texts: np.ndarray, train: np.ndarray, asked: np.ndarray) -> dict[str, Any]:
    """Every way to search, for the captions (m,) asked."""
    database = np.concatenate([pictures, train])
    others = np.setdiff1d(np.arange(len(texts)), asked)
    lift = build_lift(BinaryConfig(bits=BITS), {"image": train.shape[1], "text": texts.shape[1]})
    lift.fit({"image": torch.from_numpy(train), "text": torch.from_numpy(texts[others])}, 0)
    codes = lift.to_storage(lift(torch.from_numpy(database), "image"))
    query_codes = lift.to_storage(lift(torch.from_numpy(texts[asked]), "text"))
    queries, own = texts[asked], asked // 5
    items = {"id": [f"picture-{row}" for row in range(len(database))]}
    with tempfile.TemporaryDirectory() as folder:
        floats = Index.build(f"{folder}/floats", database, items=items)
        plain = Index.build(f"{folder}/codes", codes, items=items)
        kept = Index.build(f"{folder}/kept", codes, items=items, embeddings=database)
        projected = lift(torch.from_numpy(database), "image").numpy()
        asked_projected = lift(torch.from_numpy(queries), "text").numpy()
        before = [
            np.array([hit.row for hit in hits])
            for hits in plain.search_many(query_codes, SearchOptions(SHORT))
        ]
        rows = {
            "floats, cosine": [[hit.row for hit in hits] for hits in floats.search_many(queries)],
            f"codes, {BITS} bits": [[hit.row for hit in hits] for hits in plain.search_many(query_codes)],
            "codes, equal distances by the kept embeddings": [
                [hit.row for hit in hits] for hits in kept.search_many(query_codes, embeddings=queries)
            ],
            f"short list of {SHORT} by the lift's {BITS} numbers (as 4b85331 did)": [
                short[np.argsort(-(projected[short] @ query), kind="stable")][:10].tolist()
                for short, query in zip(before, asked_projected, strict=True)
            ],
            f"short list of {SHORT} by the kept embeddings": [
                [hit.row for hit in hits]
                for hits in kept.search_many(query_codes, SearchOptions(rerank=SHORT), embeddings=queries)
            ],
        }
        size = {
            name: sum(file.stat().st_size for file in Path(folder, name).rglob("*") if file.is_file())
            for name in ("floats", "codes", "kept")
        }
    return {
        "queries": len(asked),
        "database": len(database),
        "recall": {name: recall(found, own) for name, found in rows.items()},
        "bytes of the index": size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    both = np.load(given.features / "flickr8k_first100_vitb32_image_text.npz")
    pictures, texts = unit(both["image"]), unit(both["text"])
    train = unit(np.load(given.features / "flickr8k_train1000_vitb32_image_fp16.npy"))
    started = time.perf_counter()
    halves = {
        "captions of pictures 1 to 50": np.arange(HALF),
        "captions of pictures 51 to 100": np.arange(HALF, len(texts)),
    }
    found = {name: measure(pictures, texts, train, asked) for name, asked in halves.items()}
    ways = next(iter(found.values()))["recall"]
    found["both halves, each with its own codes"] = {
        "queries": len(texts),
        "database": len(pictures) + len(train),
        "recall": {
            way: {
                k: round(float(np.mean([found[half]["recall"][way][k] for half in halves])), 3) for k in score
            }
            for way, score in ways.items()
        },
    }
    for name, value in found.items():
        print(f"\n{name}: {value['queries']} queries, {value['database']} pictures")
        for way, score in value["recall"].items():
            print(f"  {way:70} " + "  ".join(f"{k} {share:.3f}" for k, share in score.items()))
    if given.out is not None:
        facts = {"bits": BITS, "short list": SHORT, "seed": 0, "machine": platform.machine()}
        seconds = round(time.perf_counter() - started, 1)
        write_json(given.out, {"settings": facts, "seconds": seconds, "results": found})


if __name__ == "__main__":
    main()
