"""HMID-Net on tiny data: recipes, the built method and its first batch, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.data.batches import Batch, Batches
from limbeck.errors import LimbeckError
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from tiny import pixel_recipe

POLAR = {"kind": "polar", "dim": 8}
SPHERE = {"kind": "sphere", "dim": 8}
PATCHES, BATCH = 16, 16
FEATURES = {"backbone": {"kind": "features", "name": "cnn"}, "hidden": [12]}
BAG = {"backbone": {"kind": "bag"}, "hidden": [12]}


def recipe(
    place: Path, method: dict[str, Any], lift: dict[str, Any] = POLAR, **options: Any
) -> dict[str, Any]:
    return pixel_recipe(place / "pairs", place / "retrieval.yaml", method, lift, **options)


def built(tree: dict[str, Any]) -> tuple[Any, Batch]:
    """The method of the last stage, in evaluation mode, and its first batch."""
    resolved = load_recipe(tree)
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, resolved.seed)
    batches = Batches(data.train, input_readers(method, data.train), batch_size=BATCH, seed=0)
    return method.eval(), batches.at(0)


def hmid(
    place: Path, teacher: Any = "ema", lift: dict[str, Any] = POLAR, *, steps: int = 4, **options: Any
) -> dict[str, Any]:
    """A recipe for HMID-Net with the given options of the method."""
    augment = options.pop("augment", None)
    method = {"name": "hmid-net", "teacher": str(teacher), "decoder_width": 32, **options}
    return recipe(place, method, lift, augment=augment, steps=steps)


def refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(LimbeckError, match=message) as found:
        built(tree)
    assert "\n" not in str(found.value)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def kl(student: np.ndarray, teacher: np.ndarray) -> float:
    p, q = softmax(teacher), softmax(student)
    return float((p * (np.log(p) - np.log(q))).sum(1).mean())
