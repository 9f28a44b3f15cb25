"""A small data set with planted structure and an encoder that is no network: labels seen through noise."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from doubles import Encodes
from limbeck.codes import pack_bits
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.spaces import Hamming, Space, Sphere

CLASSES = 6
ROWS = 90


class FakeEncoder(Encodes):
    """Embeds a row of features, or the text of one, by a fixed random map; codes are signs of it."""

    image_input = "features:cnn"
    space_id = "fake"

    def __init__(self, space: Space, embeddings: np.ndarray) -> None:
        self.space = space
        self.embeddings = embeddings
        self.texts_seen: list[str] = []

    def encode_image(self, images: Any, *, output: str = "points", batch_size: int = 256) -> np.ndarray:
        rows = np.asarray(images)[:, 0].astype(int)
        return self._finish(self.embeddings[rows], output)

    def encode_text(self, texts: list[str], *, output: str = "points", batch_size: int = 256) -> np.ndarray:
        self.texts_seen += texts if output == "points" else []
        rows = [int(text.split()[1]) for text in texts]
        noise = (
            np.array([int(hashlib.sha256(text.encode()).hexdigest()[:4], 16) for text in texts]) / 65536 - 0.5
        )
        return self._finish(self.embeddings[rows] + 0.3 * noise[:, None], output)

    def check_query(self, text: str) -> None:
        """Every text can be read."""

    def _finish(self, embeddings: np.ndarray, output: str) -> np.ndarray:
        if output == "embeddings":
            return embeddings
        if self.space.storage == "codes":
            return pack_bits(embeddings >= 0)
        return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    rng = np.random.default_rng(1)
    labels = rng.random((ROWS, CLASSES)) < 0.25
    labels[np.arange(ROWS), rng.integers(CLASSES, size=ROWS)] = True
    labels[3] = False  # a query without any relevant item
    return labels


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> Pairs:
    folder = tmp_path_factory.mktemp("data")
    names = [f"class{c}" for c in range(CLASSES)]
    feature_file = folder / "cnn.npy"
    np.save(feature_file, np.repeat(np.arange(ROWS, dtype=np.float32)[:, None], 4, axis=1))
    columns = {
        "id": [f"row{i}" for i in range(ROWS)],
        "captions": [[f"row {i} first", f"row {i} second"] for i in range(ROWS)],
        "tags": [["row", str(i)] for i in range(ROWS)],
        "labels": [[name for name, on in zip(names, row, strict=True) if on] for row in labels],
        "split": ["query"] * 20 + ["train"] * 40 + ["rest"] * 30,
    }
    meta = {
        "name": "fake",
        "label_names": names,
        "features": {"cnn": {"file": str(feature_file), "scale": 1.0}},
    }
    Pairs.write(folder / "pairs", columns, meta)
    return Pairs.open(folder / "pairs")


def hashing_protocol(**metric: Any) -> Protocol:
    return Protocol.model_validate(
        {
            "name": "fake/hashing",
            "task": "hashing",
            "text": {"column": "tags", "join": " "},
            "splits": {
                "query": {"column_value": "query"},
                "database": {"column_value": ["train", "rest"]},
                "train": {"column_value": "train"},
            },
            "relevance": "shared_label",
            "metric": metric,
            "validation": {"size": 5, "seed": 0},
        }
    )


def retrieval_protocol() -> Protocol:
    return Protocol.model_validate(
        {
            "name": "fake/retrieval",
            "task": "retrieval",
            "text": {"column": "captions"},
            "splits": {"query": {"column_value": "query"}, "train": {"column_value": "train"}},
            "relevance": "paired",
            "metric": {"ks": [1, 5, 10], "median_rank": True},
            "validation": {"size": 5, "seed": 0},
        }
    )


@pytest.fixture
def hashing() -> Protocol:
    return hashing_protocol()


@pytest.fixture
def retrieval() -> Protocol:
    return retrieval_protocol()


def make_encoder(space: Space, labels: np.ndarray, noise: float = 1.0) -> FakeEncoder:
    rng = np.random.default_rng(7)
    width = getattr(space, "bits", None) or space.width
    embeddings = labels.astype(float) @ rng.standard_normal((CLASSES, width))
    return FakeEncoder(space, embeddings + noise * rng.standard_normal(embeddings.shape))


@pytest.fixture
def coder(labels: np.ndarray) -> FakeEncoder:
    return make_encoder(Hamming(16), labels)


@pytest.fixture
def embedder(labels: np.ndarray) -> FakeEncoder:
    return make_encoder(Sphere(12), labels)
