"""Ten text queries and ten held-out pictures against an index of MIRFlickr's database, as contact sheets.

    python benchmarks/mirflickr_searches.py --data runs/mirflickr --index runs/mir-index --out runs/searches

Writes OUT/text.png, OUT/picture.png and OUT/searches.json (share of the first ten hits that are relevant: for a text,
hits that carry its label; for a picture, hits that share a label with it), and the means as claims to --json.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from claims import Claims
from limbeck import Index, Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.files import write_json
from limbeck.reporting.gallery import Cell, contact_sheet
from limbeck.search import Hit

# A text and the label that says whether a hit is right.
TEXTS = [
    ("sunset over the sea", "sunset"),
    ("a dog running", "dog"),
    ("flowers in a garden", "flower"),
    ("baby portrait", "baby"),
    ("street at night", "night"),
    ("mountain lake", "lake"),
    ("birds", "bird"),
    ("old car", "car"),
    ("delicious food", "food"),
    ("clouds in a blue sky", "clouds"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--features", default="mobilenetv2", help="name of the features, or 'pixels'")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/chain-searches.json"))
    options = parser.parse_args()
    pairs, index = Pairs.open(options.data), Index.open(options.index)
    queries = resolve_splits(load_protocol("mirflickr15k/dcmh"), pairs).query.rows
    labels = pairs.labels()
    prior = labels[index_rows(pairs, index)].mean(0)
    found: dict[str, list[dict[str, Any]]] = {"text": [], "picture": []}
    sheets: dict[str, list[tuple[str, list[Cell]]]] = {"text": [], "picture": []}
    for text, label in TEXTS:
        hits = index.search(text, 10)
        right = [label in (hit.metadata["labels"] or []) for hit in hits]
        chance = float(prior[pairs.label_names.index(label)])
        found["text"].append(
            {"query": text, "label": label, "right": float(np.mean(right)), "chance": chance}
        )
        sheets["text"].append(
            (f"{text}  ({sum(right)} of 10 carry '{label}', chance {10 * chance:.1f})", cells(index, hits))
        )
    for row in queries[:: len(queries) // 10][:10].tolist():
        if options.features == "pixels":
            hits = index.search(image=pairs.open_image(row), k=10)
        else:
            hits = index.search(features=pairs.features(options.features, [row]), k=10)
        own = set(pairs.labels_text[row])
        right = [bool(own & set(hit.metadata["labels"] or [])) for hit in hits]
        found["picture"].append(
            {"query": pairs.ids[row], "labels": sorted(own), "right": float(np.mean(right))}
        )
        asked = Cell(partial(pairs.open_image, row), [f"query {pairs.ids[row]}", ", ".join(sorted(own))])
        sheets["picture"].append(
            (f"{pairs.ids[row]}  ({sum(right)} of 10 share a label)", [asked, *cells(index, hits)])
        )
    options.out.mkdir(parents=True, exist_ok=True)
    for kind, rows in sheets.items():
        contact_sheet(options.out / f"{kind}.png", rows, columns=11 if kind == "picture" else 10)
        print(
            f"{kind}: {np.mean([entry['right'] for entry in found[kind]]):.3f} of the first ten hits are right"
        )
    write_json(options.out / "searches.json", found)
    items = labels[index_rows(pairs, index)]
    floor = float(np.mean([(items @ own > 0).mean() for own in labels[queries]]))
    write_json(options.json, claims_of(found, floor))


def claims_of(found: dict[str, list[dict[str, Any]]], floor: float) -> list[dict[str, Any]]:
    """Both means; ``floor``: share of the database that shares a label with a query picture."""
    claims = Claims()
    command = (
        "benchmarks/mirflickr_searches.py --data runs/mirflickr --index runs/mir-index --out runs/searches"
    )
    right = {kind: float(np.mean([entry["right"] for entry in rows])) for kind, rows in found.items()}
    chance = np.mean([entry["chance"] for entry in found["text"]])
    claims.add(
        "ten text queries: share of the first ten hits with the query's label", command, right["text"], "share",
        note=f"chance {chance:.3f}; pictures looked at",
    )  # fmt: skip
    claims.add(
        "ten held-out pictures: share of the first ten hits that share a label", command, right["picture"], "share",
        note=f"chance (floor of mAP) {floor:.3f}",
    )  # fmt: skip
    return claims.rows


def index_rows(pairs: Pairs, index: Index) -> np.ndarray:
    """Rows of the pairs that the index holds."""
    return resolve_splits(load_protocol("mirflickr15k/dcmh"), pairs).database.rows


def cells(index: Index, hits: list[Hit]) -> list[Cell]:
    return [
        Cell(
            partial(index.picture, hit), [f"{hit.score:g}  {hit.id}", ", ".join(hit.metadata["labels"] or [])]
        )
        for hit in hits
    ]


if __name__ == "__main__":
    main()
