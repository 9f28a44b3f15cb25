"""The starter model on the test pictures of Flickr8k: floats, 64 bits, and 64 bits with re-ranking.

    python benchmarks/starter.py FLICKR8K_PAIRS [--out docs/results/parts/starter.json]

Codes are ITQ, fitted to the validation pictures. Settings were chosen on the validation pictures too.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import limbeck
from limbeck.codes import hamming_distances, itq, sign_codes
from limbeck.data.pairs import Pairs
from limbeck.evaluation.encode import Side
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.files import write_json
from limbeck.spaces import Hamming, Sphere

SHORT_LIST = 100
KS = (1, 5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/starter.json"))
    options = parser.parse_args()
    pairs, model = Pairs.open(options.pairs), limbeck.load("starter")
    began = time.process_time()
    validation = encode_rows(model, pairs, pairs.split_rows("val"))
    test_rows = pairs.split_rows("test")
    images = encode_rows(model, pairs, test_rows)
    seconds = time.process_time() - began
    captions = [pairs.captions[row] for row in test_rows.tolist()]
    texts = model.encode_text([text for said in captions for text in said])
    owners = np.repeat(np.arange(len(images)), [len(said) for said in captions])
    sides = Side(images, np.arange(len(images))), Side(texts, owners)
    rows = {"floats": recall(score_retrieval(Sphere(384), *sides, KS).metrics)}
    for bits in (64, 128, 256):
        centre = validation.mean(0)
        projection = itq(validation - centre, bits, 0).projection
        picture_codes, text_codes = sign_codes((images - centre) @ projection), sign_codes(texts @ projection)
        coded = Side(picture_codes, sides[0].rows), Side(text_codes, owners)
        rows[f"{bits} bits"] = recall(score_retrieval(Hamming(bits), *coded, KS).metrics)
        rows[f"{bits} bits, rerank {SHORT_LIST}"] = reranked(picture_codes, text_codes, images, texts, owners)
    speed = (len(validation) + len(images)) / seconds
    write_json(options.out, {"rows": rows, "pictures_per_processor_second": speed, "pictures": len(images)})
    for name, row in rows.items():
        print(name, {key: round(value, 4) for key, value in row.items()})


def encode_rows(model: limbeck.DualEncoder, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
    """Encode the pictures of some rows, 64 at a time."""
    blocks = [rows[i : i + 64].tolist() for i in range(0, len(rows), 64)]
    return np.concatenate([model.encode_image([pairs.open_image(row) for row in block]) for block in blocks])


def recall(metrics: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return R@k of both directions in one mapping."""
    return {f"{way} {name}": share for way, own in metrics.items() for name, share in own.items()}


def reranked(
    picture_codes: np.ndarray,
    text_codes: np.ndarray,
    images: np.ndarray,
    texts: np.ndarray,
    owners: np.ndarray,
) -> dict[str, float]:
    """Return R@k of a short list by Hamming distance, ordered by cosine."""
    distances, cosines = hamming_distances(text_codes, picture_codes), texts @ images.T
    relevant = owners[:, None] == np.arange(len(images))
    found = {"t2i": _ranks(distances, cosines, relevant), "i2t": _ranks(distances.T, cosines.T, relevant.T)}
    return {f"{way} r@{k}": float((ranks < k).mean()) for way, ranks in found.items() for k in KS}


def _ranks(distances: np.ndarray, cosines: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the rank from 0 of each query's first relevant item; a large number if it is not in the list."""
    ranks = np.full(len(distances), 1 << 30)
    for query, (far, near, right) in enumerate(zip(distances, cosines, relevant, strict=True)):
        short = np.lexsort((-near, far))[:SHORT_LIST]
        ordered = short[np.argsort(-near[short], kind="stable")]
        places = np.flatnonzero(right[ordered])
        if len(places):
            ranks[query] = places[0]
    return ranks


if __name__ == "__main__":
    main()
