"""Tiny pairs, and runs of two steps to teach from."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmid_runs import BAG, FEATURES, POLAR, SPHERE, recipe
from limbeck.training import train
from tiny import write_pairs, write_protocol


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hmid")
    write_protocol(folder, "retrieval")
    write_pairs(folder, rows=60, pictures=16)
    return folder


@pytest.fixture(scope="session")
def teachers(place: Path) -> dict[str, Path]:
    """Runs of two steps: on pixels (2 x 2 patches), features, the sphere, wider, at a curvature of 2."""
    plain = recipe(place, {"name": "meru"}, patch_size=8, steps=2)
    features = plain | {"towers": {"image": FEATURES, "text": BAG}}
    kinds = {
        "pixels": plain,
        "features": features,
        "sphere": plain | {"lift": SPHERE, "stages": {"student": {"method": {"name": "clip"}}}},
        "wide": features | {"lift": POLAR | {"dim": 12}},
        "curved": features | {"lift": POLAR | {"curv": 2.0}},
    }
    return {name: train(tree, out=place / name, quiet=True) for name, tree in kinds.items()}
