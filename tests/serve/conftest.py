"""Indexes of tiny models, and clients of services on them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import limbeck
from limbeck.serve.app import create_app
from tiny_encoder import pixel_encoder, write_pictures

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))  # the attacks


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of twelve pictures, some in a folder with a blank and letters beyond ASCII."""
    root = tmp_path_factory.mktemp("served")
    write_pictures(root / "media" / "größe a", range(4))
    write_pictures(root / "media", range(4, 12))
    limbeck.Index.build(root / "pictures", root / "media", model=pixel_encoder(bits=16))
    return root / "pictures"


@pytest.fixture
def client(pictures: Path) -> Iterator[TestClient]:
    with TestClient(create_app([pictures]), "http://localhost", raise_server_exceptions=False) as client:
        yield client
