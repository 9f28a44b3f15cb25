"""One tiny data set and one uninterrupted run for all tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limbeck.training import train
from tiny import soda_recipe, write_pairs, write_protocol


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="session")
def pairs_dir(place: Path) -> Path:
    return write_pairs(place)


@pytest.fixture(scope="session")
def hashing(place: Path) -> Path:
    return write_protocol(place, "hashing")


@pytest.fixture(scope="session")
def retrieval(place: Path) -> Path:
    return write_protocol(place, "retrieval")


@pytest.fixture
def recipe(pairs_dir: Path, hashing: Path) -> dict[str, Any]:
    return soda_recipe(pairs_dir, hashing)


@pytest.fixture(scope="session")
def whole_run(place: Path, pairs_dir: Path, hashing: Path) -> Path:
    """`soda_recipe` trained without interruption."""
    return train(soda_recipe(pairs_dir, hashing), out=place / "whole", quiet=True)
