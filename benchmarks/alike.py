"""Which pictures `--fold` takes for near-duplicates: copies that were made on purpose, and different pictures.

    python benchmarks/alike.py INDEX [--pictures 150] [--out docs/results/parts/alike.json]

INDEX holds pictures by a model on the sphere, such as Flickr8k's test pictures by the starter model. Each of the
first pictures is copied: compressed again, scaled to 80 %, and cut by 3 % at each edge. The vectors, and 64-bit
ITQ codes of them, are compared as `limbeck.search.alike` compares items. "folded" is the share of copies that are
near-duplicates of their picture; "different" is the share of neighbours (the ten nearest other pictures of each)
that are taken for near-duplicates, some of which are photographs of one scene.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import limbeck
from limbeck.codes import itq
from limbeck.files import write_json
from limbeck.search.alike import Alike
from limbeck.search.encoders import own_encoder

SHARES = (1 / 8, 1 / 6, 1 / 5, 1 / 4, 1 / 3)


def compressed(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=75)
    return Image.open(stream).convert("RGB")


def scaled(picture: Image.Image) -> Image.Image:
    return picture.resize([round(0.8 * side) for side in picture.size], Image.Resampling.BICUBIC)


def cut(picture: Image.Image) -> Image.Image:
    x, y = (round(0.03 * side) for side in picture.size)
    return picture.crop((x, y, picture.width - x, picture.height - y))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "compressed again (JPEG 75)": compressed,
    "scaled to 80 %": scaled,
    "cut by 3 % at each edge": cut,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--pictures", type=int, default=150)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/alike.json"))
    options = parser.parse_args()
    index = limbeck.Index.open(options.index)
    store, encoder = index.store, own_encoder(index.store)
    points = store.points_at(np.arange(store.rows))
    names = [item["id"] for item in store.metadata(np.arange(options.pictures))]
    pictures = [index.picture(index.item(name)) for name in names]
    copies = {
        name: encoder.encode("image", [copy(picture) for picture in pictures], "points")[0]
        for name, copy in COPIES.items()
    }
    fitted = itq(points, 64, 0)
    forms: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "vectors": lambda vectors: vectors,
        "64-bit codes": lambda vectors: fitted.encode(vectors),
    }
    found: dict[str, Any] = {"index": store.rows, "pictures": len(pictures)}
    for form, coded in forms.items():
        with tempfile.TemporaryDirectory() as work:
            items = {"id": [str(row) for row in range(store.rows)]}
            stored = limbeck.Index.build(Path(work) / "i", coded(points), items=items)
            alike = Alike(stored.store)
            own = stored.store.points_at(np.arange(len(pictures)))
            near = np.concatenate(
                [
                    alike.distances(own[row], stored.store.points_at(neighbours(stored, row)))
                    for row in range(len(pictures))
                ]
            )
            apart = {name: alike.distances(own, coded(copy)) for name, copy in copies.items()}
            found[form] = {
                f"{share:g} of the median": {"within": share / alike.share * alike.within}
                | {
                    name: float((distances <= share / alike.share * alike.within).mean())
                    for name, distances in {"different": near, **apart}.items()
                }
                for share in SHARES
            }
        for share, row in found[form].items():
            print(form, share, {name: round(value, 3) for name, value in row.items()})
    write_json(options.out, found)


def neighbours(index: limbeck.Index, row: int) -> np.ndarray:
    """Return the rows of the ten items nearest to an item."""
    return np.array([hit.row for hit in index.search(like=str(row), k=10)])


if __name__ == "__main__":
    main()
