"""Which texts a stage draws: all of the column, those that the protocol shows, or these every other time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from limbeck.data.batches import Batches, InputReader
from limbeck.data.inputs import Input
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.encoders.config import BagConfig
from limbeck.encoders.features import BagBackbone
from limbeck.training.data import Data, open_data
from limbeck.training.recipe import load_recipe
from tiny import pixel_recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder: Path = tmp_path_factory.mktemp("texts") / "scenes"
    generate_scenes(folder, n=48, seed=1, size=32)
    return opened(folder, captions="all")


def opened(folder: Path, **options: str) -> Data:
    recipe = pixel_recipe(folder, Path("scenes/retrieval"), {"name": "clip"}, {"kind": "sphere", "dim": 8})
    recipe["data"] |= options
    return open_data(load_recipe(recipe))


def drawn(data: Data, texts: str, epochs: int) -> Counter[int]:
    """How often each place of a row's captions was drawn."""
    view, spec = data.train.drawing(texts), Input("text", "text")
    backbone = BagBackbone(BagConfig())
    backbone.fit(data.train.fit_items(spec, "text"), seed=0)
    seen: list[str] = []
    reader = InputReader(view, spec, backbone, None)
    reader._known = lambda items: seen.extend(items) or {}  # type: ignore[method-assign,assignment,func-returns-value]
    batches = Batches(view, {"text": reader}, batch_size=len(view), seed=0)
    places: Counter[int] = Counter()
    for step in range(epochs):
        seen.clear()
        ids = batches.at(step).ids
        for item, text in zip(ids, seen, strict=True):
            row = view.pairs.ids.index(item)
            places[view.pairs.captions[row].index(text)] += 1
    return places


def test_shown_draws_the_protocols_text_alone(data: Data) -> None:
    assert set(drawn(data, "shown", 4)) == {0}


def test_mixed_draws_it_every_other_time(data: Data) -> None:
    places = drawn(data, "mixed", 40)
    assert set(places) == {0, 1, 2, 3, 4}
    share = places[0] / places.total()
    assert 0.45 < share < 0.55  # 1,280 draws: three standard deviations are .042


def test_all_draws_each_alike(data: Data) -> None:
    places = drawn(data, "all", 40)
    assert all(0.15 < places[at] / places.total() < 0.25 for at in range(5))


def test_rows_labels_and_vocabulary_are_the_same(data: Data) -> None:
    for texts in ("shown", "mixed"):
        assert data.train.drawing(texts).ids == data.train.ids
    words = {word for text in data.train.fit_items(Input("text", "text"), "text") for word in text.split()}
    assert "polygon" in words  # no detailed caption says it


def test_one_text_a_row_is_always_drawn(data: Data) -> None:
    alone = opened(data.pairs.path).train
    assert alone.drawing("mixed").texts == alone.drawing("shown").texts == alone.texts
