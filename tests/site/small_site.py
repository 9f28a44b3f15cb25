"""Small indexes of random codes or vectors, whose sites the tests write and ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from javascript import run_js
from PIL import Image

from limbeck.search import Index
from limbeck.site import SiteOptions, write_site
from limbeck.site.page import BACKEND, SCRIPTS
from tiny_encoder import pixel_encoder

COUNT = 300
CODE = """
globalThis.limbeck.Failure = class extends Error {
  constructor(message, { code } = {}) { super(message); this.code = code; }
};
value.backend.forEach(load);
const answers = [];
for (const asked of value.queries) {
  try {
    const { hits } = await limbeck.backend.search(asked);
    answers.push(hits.map(({ id, score, alike, confidence }) => [id, score, alike, confidence]));
  } catch (error) {
    answers.push(error.code);
  }
}
const { info, facets, examples } = limbeck.backend;
return [answers, await info(), await facets(), await examples()];
"""


def pictures(folder: Path, count: int = COUNT) -> None:
    """A JPEG with EXIF data for every item but the last one."""
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    for number in range(count - 1):
        Image.new("RGB", (200, 100), (number % 256, 0, 90)).save(folder / f"{number}.jpg", exif=exif)


def small_index(folder: Path, *, bits: int | None = 64, embeddings: bool = False, count: int = COUNT) -> Path:
    """Random points with near-duplicates, columns of several kinds, two segments and removed rows."""
    rng = np.random.default_rng(5)
    model = pixel_encoder(bits=bits)
    width = bits or 8
    numbers = rng.standard_normal((count, width)).astype(np.float32)
    numbers[count // 2 : count // 2 + min(40, count // 2)] = numbers[: min(40, count // 2)]
    numbers += 0.002 * rng.standard_normal((count, width))
    numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
    points = np.packbits(numbers >= 0, axis=1) if bits else numbers
    kept = rng.standard_normal((count, model.kept.width)).astype(np.float32) if embeddings else False
    items: dict[str, list[Any]] = {
        "id": [f"item {number}" for number in range(count)],
        "path": [f"{number}.jpg" for number in range(count)],
        "labels": [sorted({f"l{number % 3}", f"l{number % 7}"}) for number in range(count)],
        "kind": [("a'b", "</script><b>", None)[number % 3] for number in range(count)],
        "captions": [[f"red number {number}"] for number in range(count)],
    }
    half = count // 2
    first = {name: values[:half] for name, values in items.items()}
    given = kept if kept is False else kept[:half]
    index = Index.build(folder, points[:half], model=model, items=first, embeddings=given)
    rest = {name: values[half:] for name, values in items.items()}
    more = {} if kept is False else {"embeddings": kept[half:]}
    index = index.add(points[half:], items=rest, model=model, **more)
    index.remove([f"item {number}" for number in (0, 7, half + 3)])
    return folder


def ask(site: Path, queries: Sequence[dict[str, Any]]) -> Any:
    """The answers of a site's backend in node, then its info, facets and examples."""
    files = [site / "engine" / name for name in SCRIPTS] + sorted((site / "data").glob("*.js"))
    given = {"backend": [str(site / "engine" / BACKEND)], "queries": list(queries)}
    return run_js(CODE, given, files)


def write(index: Path, out: Path, **options: Any) -> Path:
    """Write a site without pictures."""
    write_site(index, out, SiteOptions(**{"pictures": False, **options}))
    return out
