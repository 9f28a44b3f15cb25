"""What codes of real CLIP features keep of its ranking: every candidate of `limbeck compress`, at three lengths.

    python benchmarks/compress.py --features DIR [--out docs/results/parts/compress.json]

DIR holds ViT-B/32 features: ``flickr8k_train1000_vitb32_image_fp16.npy`` (1000, 512), to which codes are fitted;
``flickr8k_first100_vitb32_image_text.npz`` (``image`` (100, 512), ``text`` (500, 512), five captions per picture in
the pictures' order), which ask; and class names as texts (``*_clip_a+cname*.npy``), to which codes are fitted where
they need texts. No caption is fitted to. The database is the 100 pictures and then the 1,000.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from limbeck.evaluation.compress import candidates, fitted, measured, of_floats
from limbeck.evaluation.compress_features import features_of
from limbeck.files import write_json
from limbeck.spaces import Sphere

LENGTHS, SEED = (64, 128, 256), 0


def unit(x: np.ndarray) -> np.ndarray:
    """Rows at length 1, float32."""
    x = x.astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    both = np.load(given.features / "flickr8k_first100_vitb32_image_text.npz")
    train = unit(np.load(given.features / "flickr8k_train1000_vitb32_image_fp16.npy"))
    files = sorted(given.features.glob("*_clip_a+cname*.npy"))
    names = unit(np.concatenate([np.load(file) for file in files]))
    pictures, captions = unit(both["image"]), unit(both["text"])
    database = np.concatenate([pictures, train])
    own = np.repeat(np.arange(len(pictures)), 5)
    features = features_of(
        Sphere(512), train, names, database, asked_texts=captions, own=own, asked_images=len(pictures)
    )
    floats = of_floats(features)
    rows = []
    for bits in LENGTHS:
        tried = []
        for candidate in candidates(features, bits):
            started = time.process_time()
            lift = fitted(features, candidate, bits, SEED)
            seconds = round(time.process_time() - started, 1)
            result = measured(features, candidate, lift)
            tried.append(result)
            rows.append({"bits": bits, "candidate": candidate.name, "processor_seconds": seconds})
            for search in ("codes", "asymmetric"):
                rows[-1][search] = {kind: asdict(one) for kind, one in getattr(result, search).items()}
            text = result.codes["text"], result.asymmetric["text"]
            shown = "  ".join(f"{one.overlap:.3f} {one.reranked_recall:.3f}" for one in text)
            print(
                f"{bits:4} {candidate.name:12} {seconds:6.1f} s  overlap, R@10 reranked: {shown}", flush=True
            )
        chosen = max(tried, key=lambda one: one.score).candidate
        for row in rows[-len(tried) :]:
            row["chosen"] = row["candidate"] == chosen
    if given.out is not None:
        settings = {"fitted": [len(train), len(names)], "queries": len(captions), "database": len(database)}
        settings |= {"seed": SEED, "machine": platform.machine()}
        told = {kind: asdict(one) for kind, one in floats.items()}
        write_json(given.out, {"settings": settings, "floats": told, "rows": rows})


if __name__ == "__main__":
    main()
