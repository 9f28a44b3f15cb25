"""What codes of real CLIP features keep of its ranking: every candidate of `limbeck compress`, at three lengths.

    python benchmarks/compress.py --features DIR [--out docs/results/parts/compress.json]
    python benchmarks/compress.py --features DIR --choose docs/results/parts/compress-choice.json

DIR holds ViT-B/32 features: ``flickr8k_train1000_vitb32_image_fp16.npy`` (1000, 512), to which codes are fitted;
``flickr8k_first100_vitb32_image_text.npz`` (``image`` (100, 512), ``text`` (500, 512), five captions per picture in
the pictures' order), which ask; and class names as texts (``*_clip_a+cname*.npy``), to which codes are fitted where
they need texts. No caption is fitted to. The database is the 100 pictures and then the 1,000.

With --choose the settings of the learned map are compared without a look at the captions or the 100 pictures: it is
fitted to 800 of the 1,000 pictures and some class names; the other 200 and 500 other names ask.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import numpy as np

from limbeck.encoders.lifts import ranking
from limbeck.evaluation.compress import candidates, fitted, measured, of_floats
from limbeck.evaluation.compress_features import features_of
from limbeck.files import write_json
from limbeck.spaces import Sphere

LENGTHS, SEED = (64, 128, 256), 0
SETTINGS = {"SHARPNESS": (3.0, 2.0, 4.0), "NOISE": (0.5, 2.0), "WORDS": (0.0, 0.5, 2.0)}


def unit(x: np.ndarray) -> np.ndarray:
    """Rows at length 1, float32."""
    x = x.astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def choose(train: np.ndarray, names: np.ndarray, out: Path) -> None:
    """Measure the learned map with one setting at a time halved, doubled or left out."""
    rng = np.random.default_rng(SEED)
    order, words = rng.permutation(len(train)), rng.permutation(len(names))
    held, fit = train[order[:200]], train[order[200:]]
    features = features_of(
        Sphere(512), fit, names[words[500:]], np.concatenate([held, fit]), asked_texts=names[words[:500]],
        own=None, asked_images=200,
    )  # fmt: skip
    learned = next(one for one in candidates(features, 64) if one.name == "learned")
    rows = []
    for changed in [{name: value} for name, values in SETTINGS.items() for value in values]:
        with mock.patch.multiple(ranking, **changed):
            result = measured(features, learned, fitted(features, learned, 64, SEED))
            settings = {name: getattr(ranking, name) for name in SETTINGS}
        rows.append(settings | {"score": result.score})
        for search in ("codes", "asymmetric"):
            rows[-1] |= {f"{search}, {kind}": one.overlap for kind, one in getattr(result, search).items()}
        print(rows[-1], flush=True)
    write_json(out, {"rows": rows, "bits": 64, "seed": SEED})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--choose", type=Path)
    given = parser.parse_args()
    both = np.load(given.features / "flickr8k_first100_vitb32_image_text.npz")
    train = unit(np.load(given.features / "flickr8k_train1000_vitb32_image_fp16.npy"))
    files = sorted(given.features.glob("*_clip_a+cname*.npy"))
    names = unit(np.concatenate([np.load(file) for file in files]))
    if given.choose is not None:
        return choose(train, names, given.choose)
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
