"""Search along the hierarchy: how often `--more-specific` and `--more-general` return hits for held-out queries.

    python benchmarks/hierarchy_search.py RUN --data DIR [--chains rule|order] [--queries 100] [--draw FOLDER]

RUN is a model with cones, DIR the pairs directory with its protocol's test pictures. Two indexes are built from
them: one of the pictures, and one of the texts of their chains (captions and their phrases, each once).
``more-specific``: first captions of the first pictures are searched in the pictures' index; a hit is a picture in
the caption's cone. ``more-general``: the same pictures are searched in the texts' index; a hit is a text whose
cone holds the picture. "own" is the share of queries whose own picture, or a text of whose own chain, is a hit.
``traversals``: the same pictures are followed to the root through the same texts; a step is a text that entails
the point of the path (`limbeck.traversal`), and the root does not count. ``--draw`` writes a sheet of captions with
their first hits, and the first two traversals; draw pictures only where you may show them.
"""

from __future__ import annotations

import argparse
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import limbeck
from limbeck.data.caption_chains import find_chains
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import open_splits
from limbeck.evaluation.encode import encode_pictures, encode_texts
from limbeck.files import write_json
from limbeck.reporting.traversal import write_figure
from limbeck.traversal import ROOT, Traversal

SHOWN = 10
STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--protocol", default="flickr8k/official")
    parser.add_argument("--chains", choices=("rule", "order"), default="rule")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--draw", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/hierarchy-search.json"))
    options = parser.parse_args()
    model, pairs = limbeck.load(options.run), Pairs.open(options.data)
    rows = open_splits(options.protocol, pairs, "--protocol").query.rows
    chains = find_chains(pairs, rows, options.chains)
    pictures = encode_pictures(model, pairs, chains.rows)
    distinct = list(dict.fromkeys(text for chain in chains.texts for text in chain))
    texts = encode_texts(model, [[text] for text in distinct], np.arange(len(distinct))).points
    captions = [chain[-1] for chain in chains.texts[: options.queries]]
    asked = encode_texts(model, [[text] for text in captions], np.arange(len(captions))).points
    ids = [pairs.ids[row] for row in chains.rows.tolist()]
    with tempfile.TemporaryDirectory() as work:
        shown = limbeck.Index.build(
            Path(work) / "pictures", pictures.points, items={"id": ids}, space=model.space
        )
        said = limbeck.Index.build(Path(work) / "texts", texts, items={"id": distinct}, space=model.space)
        down = [hits(shown, point, "more-specific") for point in asked]
        up = [hits(said, point, "more-general") for point in pictures.points[: options.queries]]
    known = [text for text in distinct if text != ROOT]
    places = texts[[distinct.index(text) for text in known]]
    ways = [Traversal.of(model.space, point, places, known) for point in pictures.points[: options.queries]]
    steps = [len(way.chain) - 1 for way in ways]
    found: dict[str, Any] = {
        "pictures": len(ids),
        "texts": len(distinct),
        "queries": len(captions),
        "more-specific": shares(down, [[name] for name in ids]),
        "more-general": shares(up, chains.texts),
        "traversals": {
            "three steps": float(np.mean([count >= STEPS for count in steps])),
            "median steps": float(np.median(steps)),
        },
        "examples": [
            {
                "caption": captions[i],
                "more specific": down[i][:5],
                "picture": ids[i],
                "more general": up[i][:8],
            }
            for i in range(min(SHOWN, len(captions)))
        ],
    }
    for name in ("more-specific", "more-general", "traversals"):
        print(name, found[name])
    write_json(options.out, found)
    if options.draw:
        options.draw.mkdir(parents=True, exist_ok=True)
        shown_rows = dict(zip(ids, chains.rows.tolist(), strict=True))
        draw_sheet(
            options.draw / "more-specific.png", captions, down, lambda i: pairs.open_image(shown_rows[i])
        )
        for at, way in enumerate(ways[:2]):
            write_figure(options.draw / f"traversal-{at}.png", way, pairs.open_image(int(chains.rows[at])))


def draw_sheet(
    file: Path, captions: list[str], answers: list[list[str]], picture: Callable[[str], Image.Image]
) -> None:
    """Draw a row per caption: the caption, and the pictures of its first hits."""
    count = min(SHOWN, len(captions))
    figure = Figure(figsize=(9, count * 1.1))
    grid = figure.subplots(count, 6, gridspec_kw={"width_ratios": [3, 1, 1, 1, 1, 1]})
    for row, caption, answer in zip(grid, captions[:count], answers, strict=False):
        for axis in row:
            axis.axis("off")
        told = "\n".join(textwrap.wrap(caption, 36)) + f"\n({len(answer)} in its cone)"
        row[0].text(0, 0.5, told, va="center", fontsize=8)
        for axis, name in zip(row[1:], answer, strict=False):
            axis.imshow(picture(name))
    figure.tight_layout(pad=0.3)
    figure.savefig(file, dpi=110, metadata={"Software": None})


def hits(index: limbeck.Index, point: np.ndarray, hierarchy: str) -> list[str]:
    """Return the ids of all hits, nearest first."""
    return [hit.id for hit in index.search(points=point, k=index.store.rows, hierarchy=hierarchy)]


def shares(answers: list[list[str]], own: list[list[str]]) -> dict[str, float]:
    """Return the share of queries with a hit and with a hit of their own, and the median number of hits."""
    return {
        "with hits": float(np.mean([bool(answer) for answer in answers])),
        "own": float(np.mean([bool(set(a) & set(o)) for a, o in zip(answers, own, strict=False)])),
        "median hits": float(np.median([len(answer) for answer in answers])),
    }


if __name__ == "__main__":
    main()
