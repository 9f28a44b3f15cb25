"""The page finds the same hits as the exact engine, ties included."""

from __future__ import annotations

import base64

import numpy as np
from javascript import floats, needs_node, run_js

from limbeck.spaces import Euclid, Lorentz, Space, Sphere

CODES = """
const bytes = (text) => site.bytes(text);
return value.map(({ items, bits, query, k, mask, excluded, prefix }) => {
  const codes = new site.scan.Codes(bytes(items), bits);
  const options = { allowed: mask && Uint8Array.from(mask), excluded, bits: prefix };
  const found = codes.nearest(site.scan.asWords(bytes(query), codes.width), k, options);
  return [Array.from(found.rows), found.scores];
});
"""
VECTORS = """
return value.map(({ items, space, query, k, mask }) => {
  const vectors = new site.scan.Vectors(site.bytes(items), space);
  const found = vectors.nearest(Float32Array.from(query), k, { allowed: mask && Uint8Array.from(mask) });
  return [Array.from(found.rows), found.scores];
});
"""


def packed(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


@needs_node
def test_codes_of_every_length_mask_and_prefix() -> None:
    rng = np.random.default_rng(0)
    asked, expected = [], []
    for bits in (8, 16, 24, 32, 64, 72, 256):
        for k, masked, skipped, prefix in (
            (1, False, 0, bits),
            (7, True, 2, bits),
            (300, True, 0, 8),
            (50, False, 3, 12),
        ):
            prefix = min(prefix, bits)
            items = rng.integers(0, 256, (200, bits // 8), np.uint8)
            items[50:90] = items[:40]  # equal codes: ties go by row
            query = items[3:4] ^ (rng.random((1, bits // 8)) < 0.2).astype(np.uint8)
            mask = rng.random(200) < 0.5 if masked else None
            excluded = rng.choice(200, skipped, replace=False).tolist()
            allowed = np.ones(200, bool) if mask is None else mask.copy()
            allowed[excluded] = False
            distances = np.unpackbits(items ^ query, axis=1)[:, :prefix].sum(1, dtype=int)
            order = np.argsort(distances, kind="stable")
            order = order[allowed[order]][:k]
            padded = np.pad(items, ((0, 0), (0, -items.shape[1] % 4)))
            given = None if mask is None else mask.astype(int).tolist()
            query_of = {"items": packed(padded), "bits": bits, "query": packed(query), "k": k}
            asked.append(query_of | {"mask": given, "excluded": excluded, "prefix": prefix})
            expected.append([order.tolist(), distances[order].tolist()])
    assert run_js(CODES, asked) == expected


@needs_node
def test_vectors_of_every_space() -> None:
    rng = np.random.default_rng(1)
    spaces: list[Space] = [Sphere(5), Euclid(5), Lorentz(5, 0.7)]
    asked, expected = [], []
    for space in spaces:
        for count, k, masked in ((40, 50, False), (3000, 10, False), (3000, 7, True)):
            items = rng.standard_normal((count, 5)).astype(np.float32)
            if space.name == "sphere":
                items /= np.linalg.norm(items, axis=1, keepdims=True)
            items[20:30] = items[:10]
            query = items[:1]
            mask = rng.random(count) < 0.5 if masked else np.ones(count, bool)
            scores = space.rescore(query, items)
            order = np.lexsort((np.arange(count), -space.score_sign * scores))
            order = order[mask[order]][:k]
            given = mask.astype(int).tolist() if masked else None
            query_of = {"items": packed(items), "space": space.to_json(), "query": query[0].tolist()}
            asked.append(query_of | {"k": k, "mask": given})
            expected.append((order, scores[order]))
    for (rows, scores), (order, wanted) in zip(run_js(VECTORS, asked), expected, strict=True):
        assert rows == order.tolist()
        assert np.allclose(floats(scores), wanted, rtol=0, atol=1e-12)
