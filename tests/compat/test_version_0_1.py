"""Models, indexes and pairs directories that version 0.1 wrote still open and still give the same answers."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck
from limbeck.data.pairs import Pairs

MODELS = ("soda", "meru", "clip")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What version 0.1 (commit 4b85331) wrote: three models, three indexes, one pairs directory."""
    folder = tmp_path_factory.mktemp("version-0.1")
    with tarfile.open(Path(__file__).with_name("version-0.1.tar.gz")) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(old: Path) -> dict[str, Any]:
    """Its answers."""
    content: dict[str, Any] = json.loads((old / "expected.json").read_text())
    return content


@pytest.mark.parametrize("name", MODELS)
def test_model_gives_the_same_points(old: Path, expected: dict[str, Any], name: str) -> None:
    points = np.asarray(limbeck.load(old / f"model-{name}").encode_text(expected[name]["texts"]))
    if points.dtype == np.uint8:
        assert points.tolist() == expected[name]["points"]
    else:
        np.testing.assert_allclose(points, expected[name]["points"], rtol=1e-5, atol=1e-6)


def _same_hits(hits: list[Any], before: list[list[Any]]) -> None:
    assert [hit.id for hit in hits] == [item for item, _ in before]
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in before], rtol=1e-5)


@pytest.mark.parametrize("name", ("soda", "meru"))
def test_index_gives_the_same_hits(old: Path, expected: dict[str, Any], name: str) -> None:
    index = limbeck.Index.open(old / f"index-{name}")
    for text, before in zip(expected[name]["texts"], expected[name]["hits"], strict=True):
        _same_hits(index.search(text, k=5), before)
    _same_hits(index.search(like="row7", k=5), expected[name]["like"])


def test_kept_embeddings_still_rank(old: Path, expected: dict[str, Any]) -> None:
    index = limbeck.Index.open(old / "index-clip")
    for text, before in zip(expected["clip"]["texts"], expected["clip"]["rerank"], strict=True):
        _same_hits(index.search(text, k=5, rerank=20), before)


def test_an_engine_built_then_still_answers(old: Path, expected: dict[str, Any]) -> None:
    index = limbeck.Index.open(old / "index-soda")
    text, before = expected["soda"]["texts"][0], expected["soda"]["hits"][0]
    exact = {hit.score for hit in index.search(text, k=5)}
    assert {hit.score for hit in index.search(text, k=5, engine="ivf")} == exact == {s for _, s in before}


def test_pairs_directory_opens(old: Path) -> None:
    pairs = Pairs.open(old / "pairs-dir", strict=False)
    assert len(pairs) == 40 and pairs.label_names == ["cat", "dog", "sky", "tree"]
