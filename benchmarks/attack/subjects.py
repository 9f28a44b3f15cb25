"""The indexes that are attacked: small, with every engine and kind of file; what they are asked, and what is true."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import limbeck
from attack.worker import Wrong
from limbeck.errors import LimbeckError
from limbeck.files import sha256_file, sha256_json, write_json
from limbeck.index.ann_index import MEASURED, open_derived
from limbeck.index.calibration import build_engine
from limbeck.index.encoded import Encoded, EncodedMeta, write_encoded
from limbeck.index.engines import engine_names
from limbeck.index.manifest import newest_manifest
from limbeck.index.segments import file_entry
from limbeck.index.store import IndexStore
from limbeck.search import SearchOptions
from limbeck.spaces import Hamming, Lorentz, Space, Sphere

ROWS = 240
FILTER = "number > 20 and (labels has sky or name like 'n1*')"
Question = Callable[[Path], Any]


@dataclass(frozen=True)
class Subject:
    """A directory, what it is asked, and the answers while it is whole."""

    name: str
    folder: Path
    questions: dict[str, Question]
    truth: dict[str, Any]


def make_subjects(
    work: Path, names: tuple[str, ...] = ("codes", "vectors", "cones", "encoder", "set")
) -> list[Subject]:
    """Build them and note the true answers."""
    makers = {"codes": _codes, "vectors": _vectors, "cones": _cones, "encoder": _encoder, "set": _set}
    found = []
    for name in names:
        folder = work / name
        questions = makers[name](folder)
        truth = {key: question(folder) for key, question in questions.items()}
        found.append(Subject(name, folder, questions, truth))
    return found


def same(given: Any, true: Any) -> None:
    """Refuse an answer that is not the true one."""
    if given != true:
        raise Wrong(f"{str(given)[:300]} instead of {str(true)[:300]}")


def points_of(space: Space, count: int, seed: int = 0) -> np.ndarray:
    """Points about 12 centres."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, 12, count)
    if space.storage == "codes":
        centres = np.random.default_rng(9).integers(0, 256, (12, space.width), dtype=np.uint8)
        return centres[centre] ^ np.packbits(rng.random((count, 8 * space.width)) < 0.1, axis=1)
    points = np.random.default_rng(9).standard_normal((12, space.width))[centre]
    points = points + 0.2 * rng.standard_normal(points.shape)
    if space.name == "sphere":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32)


def items_of(start: int, stop: int) -> dict[str, list[Any]]:
    """Columns of every type that a filter knows."""
    rows = range(start, stop)
    return {
        "id": [f"id-{i}" for i in rows],
        "path": [f"{i}.jpg" if i % 3 else None for i in rows],
        "name": [f"n{i}" for i in rows],
        "labels": [["sky", "sea"][: i % 3] for i in rows],
        "number": list(rows),
        "share": [i / 7 if i % 5 else None for i in rows],
        "sunny": [i % 2 == 0 for i in rows],
    }


def _built(folder: Path, space: Space, engines: list[str]) -> dict[str, Question]:
    """An index of two segments with removed rows, and the questions to it."""
    points, half = points_of(space, ROWS), ROWS * 2 // 3
    index = limbeck.Index.build(folder, points[:half], items=items_of(0, half), space=space)
    index = index.add(points[half:], items=items_of(half, ROWS))
    index = index.remove([f"id-{i}" for i in range(0, ROWS, 40)])
    for name in engines:
        build_engine(IndexStore.open(folder), name)
    asked = points_of(space, 4, seed=1)
    questions: dict[str, Question] = {
        "nearest": lambda path: _hits(limbeck.Index.open(path).search_many(asked, SearchOptions(7))),
        "filter": lambda path: _hits(
            limbeck.Index.open(path).search_many(asked, SearchOptions(7, where=FILTER))
        ),
        "like": lambda path: _hits([limbeck.Index.open(path).search(like="id-33", k=5)]),
        "all": lambda path: _all(path),
        "info": lambda path: json.dumps(IndexStore.open(path).info()["items"]),
    }
    for name in engines:
        questions[f"engine {name}"] = lambda path, name=name: _hits(
            limbeck.Index.open(path).search_many(asked, SearchOptions(7, engine=name))
        )
    return questions


def _hits(found: list[list[Any]]) -> str:
    return json.dumps(
        [[[h.id, round(float(h.score), 5), h.metadata] for h in one] for one in found], default=str
    )


def _all(path: Path) -> str:
    """Every point and column."""
    parts = [(points.tolist(), table.to_pylist()) for points, table in IndexStore.open(path).live_batches()]
    return sha256_json(json.loads(json.dumps(parts, default=str)))


def _codes(folder: Path) -> dict[str, Question]:
    questions = _built(folder, Hamming(64), engine_names("codes"))
    asked = points_of(Hamming(64), 1, seed=1)
    questions["radius"] = lambda path: _hits([limbeck.Index.open(path).search(points=asked, radius=9)])
    questions["radius mih"] = lambda path: _hits(
        [limbeck.Index.open(path).search(points=asked, radius=9, engine="mih")]
    )
    return questions


def _vectors(folder: Path) -> dict[str, Question]:
    return _built(folder, Sphere(8), engine_names("vectors"))


def _cones(folder: Path) -> dict[str, Question]:
    questions = _built(folder, Lorentz(8, 0.7), ["faiss-hnsw"])
    asked = points_of(Lorentz(8, 0.7), 1, seed=1)
    questions["hierarchy"] = lambda path: _hits(
        [limbeck.Index.open(path).search(points=asked, hierarchy="more-general")]
    )
    return questions


def _encoder(folder: Path) -> dict[str, Question]:
    """An index with a query encoder of its own."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
    from tiny_encoder import pixel_encoder, write_pictures

    pictures = folder.with_name("pictures")
    write_pictures(pictures, range(24))
    limbeck.Index.build(folder, pictures, model=pixel_encoder(bits=16))
    return {"text": lambda path: _hits([limbeck.Index.open(path).search("a red picture", 5)])}


def _set(folder: Path) -> dict[str, Question]:
    """An encoded set: an index built from it has its rows."""
    space = Hamming(64)
    with write_encoded(folder, EncodedMeta(space, None)) as writer:
        writer.append(points_of(space, ROWS), items_of(0, ROWS))
    asked = points_of(space, 4, seed=1)

    def build(path: Path) -> str:
        out = path.with_name(f"{path.name}-index")
        shutil.rmtree(out, ignore_errors=True)
        try:
            index = limbeck.Index.build(out, path)
            return _hits(index.search_many(asked, SearchOptions(7))) + _all(out)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    return {
        "build": build,
        "items": lambda path: sha256_json(json.loads(json.dumps(Encoded.open(path).items().to_pylist()))),
    }


def forge(folder: Path) -> None:
    """Enter the files with the checksums that they have now, as far as what names them can be read."""
    for about in folder.glob("derived/*/derived.json"):
        _rewrite(about, lambda body, about=about: _entries(body, about.parent))
        measured = about.parent / MEASURED
        body = json.loads(measured.read_text())
        body.pop("of")
        with contextlib.suppress(LimbeckError):
            derived = open_derived(folder, about.parent.name)
            write_json(measured, {"of": sha256_json([derived.fingerprint(), body]), **body})
    if (folder / "encoded.json").is_file():
        meta = json.loads((folder / "encoded.json").read_text())
        meta["sha256"] = {
            name: sha256_file(folder / name) for name in meta["sha256"] if (folder / name).is_file()
        }
        (folder / "encoded.json").write_text(json.dumps(meta))
        return
    newest = max(folder.glob("manifest-*.json"), key=lambda file: int(file.stem.rpartition("-")[2]))
    _rewrite(newest, lambda body: _entries(body, folder))


def forge_json(data: bytes) -> bytes:
    """A JSON value with a checksum that fits."""
    try:
        body = {key: item for key, item in json.loads(data).items() if key != "checksum"}
        return json.dumps({**body, "checksum": sha256_json(body)}).encode()
    except (ValueError, AttributeError, RecursionError):
        return data


def _entries(body: dict[str, Any], folder: Path) -> None:
    body["files"] = {
        name: asdict(file_entry(folder / name)) if (folder / name).is_file() else entry
        for name, entry in body["files"].items()
    }


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    body = json.loads(file.read_text())
    change(body)
    file.write_bytes(forge_json(json.dumps(body).encode()))


def newest(folder: Path) -> int:
    """The generation of an index."""
    return newest_manifest(folder).generation
