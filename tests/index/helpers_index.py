"""Small stores for the tests of the index."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from limbeck.files import sha256_json
from limbeck.index.manifest import manifest_path, newest_manifest
from limbeck.index.segments import file_entry
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta, commit
from limbeck.spaces import Hamming, Lorentz, Space, Sphere


def codes(n: int, bits: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, bits // 8), dtype=np.uint8)


def vectors(n: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    """Unit vectors with four components of ±1/2: every product is exact, and many tie."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n, dim), np.float32)
    for row in found:
        row[rng.choice(dim, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return found


def points_of(space: Space, n: int, seed: int = 0) -> np.ndarray:
    make: dict[str, Callable[..., np.ndarray]] = {"codes": codes, "vectors": vectors}
    return make[space.storage](n, {"codes": 8 * space.width, "vectors": space.width}[space.storage], seed)


def items(n: int, start: int = 0) -> dict[str, list]:
    numbers = range(start, start + n)
    return {
        "id": [f"id-{i}" for i in numbers],
        "path": [f"{i}.jpg" if i % 2 else None for i in numbers],
        "labels": [["even"] if i % 2 == 0 else [] for i in numbers],
    }


def build(path: Path, n: int = 50, space: Space | None = None, **options) -> IndexStore:
    space = space or Hamming(16)
    meta = options.pop("meta", None) or StoreMeta(space)
    return IndexStore.build(path, [(points_of(space, n), items(n))], meta, **options)


def build_parts(path: Path, points: np.ndarray, cuts: list[int], space: Space) -> IndexStore:
    """The same rows in several segments."""
    edges = [0, *cuts, len(points)]
    parts = [[(points[a:b], items(b - a, a))] for a, b in itertools.pairwise(edges)]
    commit(path, parts, StoreMeta(space))
    return IndexStore.open(path)


def resign(path: Path) -> None:
    """Enter the files of an index with the checksums that they have now: what a forger would do."""
    manifest = newest_manifest(path)
    files = {name: file_entry(path / name) for name in manifest.files}
    value = replace(manifest, files=files).to_json()
    manifest_path(path, manifest.generation).write_text(json.dumps(value), encoding="utf-8")
    for about in path.glob("derived/*/derived.json"):
        body = {key: item for key, item in json.loads(about.read_text()).items() if key != "checksum"}
        body["files"] = {name: asdict(file_entry(about.parent / name)) for name in body["files"]}
        about.write_text(json.dumps({**body, "checksum": sha256_json(body)}), encoding="utf-8")


SPACES = [Hamming(8), Hamming(64), Sphere(4), Lorentz(4, 0.5)]
