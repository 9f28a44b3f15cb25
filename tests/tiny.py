"""Tiny data, protocols and recipes that train in a fraction of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from limbeck.data.pairs import Pairs

CLASSES = ("cat", "dog", "sky", "tree")
DIM = 16


def write_pairs(folder: Path, *, rows: int = 80, seed: int = 0, pictures: int = 0) -> Path:
    """A pairs directory: features ``cnn`` (rows, 16) >= 0 and tags that follow the labels; two captions.

    ``pictures`` adds pictures of so many pixels that follow the labels, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    labels = rng.random((rows, len(CLASSES))) < 0.25
    labels[np.arange(rows), rng.integers(len(CLASSES), size=rows)] = True
    features = labels @ rng.standard_normal((len(CLASSES), DIM)) + 0.3 * rng.standard_normal((rows, DIM))
    np.save(folder / "cnn.npy", np.abs(features).astype(np.float32))
    names = [[c for c, on in zip(CLASSES, row, strict=True) if on] for row in labels.tolist()]
    columns = {
        "id": [f"row{i}" for i in range(rows)],
        "captions": [[f"a {' and '.join(own)} no {i}", f"{own[0]} again {i}"] for i, own in enumerate(names)],
        "tags": [[*own, f"extra{i % 7}"] for i, own in enumerate(names)],
        "labels": names,
        "split": ["query" if i % 5 == 0 else "rest" if i % 5 == 1 else "train" for i in range(rows)],
    }
    meta = {
        "name": "tiny",
        "label_names": list(CLASSES),
        "features": {"cnn": {"file": str(folder / "cnn.npy"), "scale": 1.0}},
    }
    if pictures:
        columns["image"] = _write_pictures(folder / "media", labels, pictures, rng)
        meta["media"] = {"kind": "folder", "root": str(folder / "media")}
    Pairs.write(folder / "pairs", columns, meta)
    return folder / "pairs"


def _write_pictures(folder: Path, labels: np.ndarray, size: int, rng: np.random.Generator) -> list[str]:
    """One PNG a row: the mean of its classes' patterns, and noise."""
    folder.mkdir()
    patterns = rng.random((labels.shape[1], 4, 4, 3))
    names = []
    for i, own in enumerate(labels):
        grid = patterns[own].mean(0) + 0.2 * rng.standard_normal((4, 4, 3))
        tile = Image.fromarray((255 * grid.clip(0, 1)).astype(np.uint8))
        names.append(f"{i}.png")
        tile.resize((size, size), Image.Resampling.NEAREST).save(folder / names[-1])
    return names


def write_protocol(folder: Path, task: str = "hashing") -> Path:
    """A protocol file over the splits of `write_pairs`: tags for hashing, captions for retrieval."""
    splits: dict[str, Any] = {"query": {"column_value": "query"}, "train": {"column_value": "train"}}
    content: dict[str, Any] = {"name": f"tiny/{task}", "task": task, "validation": {"size": 8, "seed": 0}}
    if task == "hashing":
        splits["database"] = {"column_value": ["train", "rest"]}
        content |= {"text": {"column": "tags", "join": " "}, "relevance": "shared_label", "metric": {}}
    else:
        content |= {"text": {"column": "captions"}, "relevance": "paired", "metric": {"ks": [1, 5, 10]}}
    file = folder / f"{task}.yaml"
    file.write_text(yaml.safe_dump(content | {"splits": splits}))
    return file


def soda_recipe(pairs: Path, protocol: Path, *, steps: int = 15, **schedule: Any) -> dict[str, Any]:
    """Teacher and student at 8 bits on features and tags, dropout on, validated, best step kept."""
    image = {"kind": "features", "name": "cnn", "log1p": True, "pca": 8}
    often = {"batch_size": 16, "validate_every": 6, "checkpoint_every": 4, "log_every": 1}
    student = {"method": {"name": "soda-student"}, "init": {"image": "teacher"}, "freeze": ["image"]}
    return {
        "name": "tiny/soda",
        "data": {"pairs": str(pairs), "protocol": str(protocol)},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "lift": {"kind": "hash", "bits": 8},
        "towers": {
            "image": {"backbone": image, "hidden": [12], "dropout": 0.2},
            "text": {"backbone": {"kind": "bag"}, "hidden": [12], "dropout": 0.2},
        },
        "optim": {"lr": 0.01, "warmup": 0.1},
        "schedule": {"steps": steps} | often | schedule,
        "stages": {"teacher": {"method": {"name": "soda-teacher"}}, "student": student},
    }


def pixel_recipe(
    pairs: Path,
    protocol: Path,
    method: dict[str, Any],
    lift: dict[str, Any],
    *,
    patch_size: int = 4,
    augment: dict[str, Any] | None = None,
    **schedule: Any,
) -> dict[str, Any]:
    """One stage ``student``: transformers on 16 px pictures and on captions, in the space of ``lift``."""
    image = {"kind": "clip_image", "image_size": 16, "patch_size": patch_size, "width": 32}
    text = {"kind": "clip_text", "context": 8, "width": 16}
    small = {"layers": 1, "heads": 2}
    often = {"steps": 4, "batch_size": 16, "validate_every": 2, "checkpoint_every": 2, "log_every": 1}
    return {
        "name": "tiny/student",
        "data": {"pairs": str(pairs), "protocol": str(protocol)},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "lift": lift,
        "towers": {
            "image": {"backbone": image | small | {"augment": augment}},
            "text": {"backbone": text | small},
        },
        "optim": {"lr": 0.005, "warmup": 0.1},
        "schedule": often | schedule,
        "stages": {"student": {"method": method}},
    }


def write_recipe(file: Path, recipe: dict[str, Any]) -> Path:
    """The recipe as a YAML file."""
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return file
