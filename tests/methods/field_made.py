"""Methods of the hashing field on a tiny set of pairs, as the loop builds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.data.batches import Batches
from limbeck.methods import Method
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from tiny import soda_recipe, write_pairs, write_protocol

BITS = 16


def write_field(folder: Path) -> Path:
    """Write 160 pairs with labels, and a protocol over them."""
    write_pairs(folder, rows=160)
    write_protocol(folder)
    return folder


def recipe(place: Path, name: str, steps: int, **options: Any) -> dict[str, Any]:
    """One stage of the method, at 16 bits."""
    tree = soda_recipe(place / "pairs", place / "hashing.yaml", steps=steps, validate_every=max(steps, 1))
    stage = {"method": {"name": name, **options}}
    lift = {"kind": "hash", "bits": BITS, "norm": name.startswith("crovca")}
    return tree | {"lift": lift, "stages": {name: stage}}


def made(place: Path, name: str, *, batch_size: int = 16, **options: Any) -> tuple[Method, Batches]:
    """The method, in evaluation mode, and the batches that it reads."""
    resolved = load_recipe(recipe(place, name, 1, **options))
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    sources = input_readers(method, data.train)
    return method.eval(), Batches(data.train, sources, batch_size=batch_size, seed=0)
