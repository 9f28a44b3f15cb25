"""What the stages of a run have in common is made once, and what one of them changes reaches no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.encoders.config import BagConfig, FeaturesConfig
from limbeck.encoders.features import BagBackbone, FeatureBackbone
from limbeck.encoders.once import fitted, once, work_shared


def test_copies_only_inside_the_context() -> None:
    made: list[list[int]] = []

    def make() -> list[int]:
        made.append([len(made)])
        return made[-1]

    assert once("a", make) == [0] and once("a", make) == [1]
    with work_shared():
        first = once("a", make)
        first.append(7)  # what the caller does with it stays with the caller
        assert once("a", make) == [2] and once("b", make) == [3]
    assert once("a", make) == [4]


def test_what_draws_random_numbers_is_made_again() -> None:
    torch.manual_seed(0)
    with work_shared():
        found = [once("a", lambda: torch.rand(1)).item() for _ in range(2)]
    torch.manual_seed(0)
    assert found == torch.rand(2).tolist()


@pytest.mark.parametrize("texts", [["a dog", "a cat"], ["a bird"]])
def test_a_bag_is_fitted_once_per_list_of_texts(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    fit = BagBackbone.fit
    monkeypatch.setattr(BagBackbone, "fit", lambda *given, **named: fits.append(1) or fit(*given, **named))
    with work_shared():
        first = fitted(BagBackbone(BagConfig()), ["a dog", "a cat"], 0)
        second = fitted(BagBackbone(BagConfig()), texts, 0)
        other = fitted(BagBackbone(BagConfig(vocabulary_size=1)), texts, 0)
    alone = BagBackbone(BagConfig())
    alone.fit(texts, seed=0)
    assert second is not first and second.cache_key() == alone.cache_key() != other.cache_key()
    assert torch.equal(second.get_buffer("mean"), alone.mean)
    assert len(fits) == (2 if texts == ["a dog", "a cat"] else 3) + 1


def test_features_are_fitted_once_per_array() -> None:
    rows = np.random.default_rng(0).random((20, 6), np.float32)
    with work_shared():
        first, second, third = (
            fitted(FeatureBackbone(FeaturesConfig(name="f", pca=2)), array, 0)
            for array in (rows, rows.copy(), rows * 2)
        )
    assert torch.equal(first.get_buffer("projection"), second.get_buffer("projection"))
    assert second.get_buffer("projection").data_ptr() != first.get_buffer("projection").data_ptr()
    assert not torch.equal(first.get_buffer("mean"), third.get_buffer("mean"))
