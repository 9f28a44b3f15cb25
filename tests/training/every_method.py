"""A tiny recipe of every method that trains, without dropout, and the largest difference of two gradients."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from limbeck.methods import METHODS
from tiny import pixel_recipe, soda_recipe, write_pairs, write_protocol

POLAR = {"kind": "polar", "dim": 8}
LIFTS = dict.fromkeys(("meru", "argent", "hycoclip", "uncha", "hyper3", "hmid-net"), POLAR) | {
    "clip": {"kind": "sphere", "dim": 8},
    "atmg": POLAR | {"logit": "angle"},
}
"""The spaces of the methods on pictures and captions; the others make codes of 16 bits."""
TRAINED = sorted(METHODS.keys() - {"binarize"})  # it trains for 0 steps
OPTIONS: dict[str, dict[str, Any]] = {
    "soda-teacher": {"buffer": True, "prefixes": [8]},
    "soda-student": {"buffer": True, "prefixes": [8]},
    "direct-hashing": {"buffer": True, "prefixes": [8]},
    "dhaph": {"proxies": 20, "triplets": 32},
    "hmid-net": {
        "relation": {"weight": 1.0},
        "match": {"weight": 1.0},
        "cross": {"weight": 0.5},
        "radius": {"weight": 0.1},
    },
}


def recipes(folder: Path) -> dict[str, dict[str, Any]]:
    """Write pairs, protocols and a hyperbolic teacher, and return a recipe of each method in `TRAINED`."""
    from limbeck.training import train

    pairs = write_pairs(folder, pictures=16)
    hashing, retrieval = write_protocol(folder, "hashing"), write_protocol(folder, "retrieval")
    found = {}
    for name in TRAINED:
        method: dict[str, Any] = {"name": name, **OPTIONS.get(name, {})}
        if name in LIFTS:
            lift, crop = LIFTS[name], {"crop": [1.0, 1.0]}
            tree = pixel_recipe(pairs, retrieval, method, lift, augment=crop)
            found[name] = tree | {"stages": {name: {"method": method}}}
            continue
        tree = soda_recipe(pairs, hashing) | {"lift": {"kind": "hash", "bits": 16}}
        for tower in tree["towers"].values():
            tower["dropout"] = 0.0
        if name == "multihot-teacher":
            tree["towers"]["text"] |= {"backbone": {"kind": "multihot"}}
        if name == "soda-hyperbolic":
            tree["towers"] = found["meru"]["towers"]
        found[name] = tree | {"stages": {name: {"method": method}}}
    train(found["meru"], out=folder / "teacher", quiet=True)
    for name in ("hmid-net", "soda-hyperbolic"):
        found[name]["stages"][name]["method"]["teacher"] = str(folder / "teacher")
    return found


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the largest norm of one - other, by tensor and relative to that of other.

    A tensor's norm counts as a hundredth of that of all tensors at least: some gradients are zero in theory.
    """
    assert one.keys() == other.keys()
    norms = {name: float(grad.norm()) for name, grad in other.items()}
    least = 0.01 * math.hypot(*norms.values())
    assert least > 0
    return max(float((one[name] - grad).norm()) / max(norms[name], least) for name, grad in other.items())
