"""Sentences are encoded once: across lists, fits and processes; only by untouched, frozen encoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hub_models import write_bert
from limbeck.encoders import text_memory
from limbeck.encoders.cache import BackboneCache, key_of_items
from limbeck.encoders.config import SentenceConfig
from limbeck.encoders.encode import output_blocks
from limbeck.encoders.text import SentenceBackbone

TEXTS = ["a red cat.", "dog", "cats", "a b c d e f g h", "reddish dog"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_bert(tmp_path_factory.mktemp("bert")))


def backbone(source: str) -> SentenceBackbone:
    made = SentenceBackbone(SentenceConfig(source=source))
    made.requires_grad_(False)
    return made.eval()


def count(made: SentenceBackbone) -> list[int]:
    """Rows that go through the network from now on, call by call."""
    seen: list[int] = []
    made.model.register_forward_pre_hook(
        lambda _, given, named: seen.append(len(named["input_ids"])), with_kwargs=True
    )
    return seen


def listed(cache: BackboneCache, made: SentenceBackbone, texts: list[str]) -> np.ndarray:
    key = key_of_items(texts)
    assert key is not None
    return np.array(cache.outputs(made, key, len(texts), lambda: output_blocks(made, texts)))


def test_other_list_fit_and_process_find_the_same_sentences(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, made = BackboneCache(tmp_path, quiet=True), backbone(source)
    seen = count(made)
    plain = [np.concatenate([out for _, out in output_blocks(made, [text])]) for text in TEXTS]
    del seen[:]
    first = listed(cache, made, TEXTS[:3])
    assert sum(seen) == 3
    second = listed(cache, made, TEXTS[1:])
    assert sum(seen) == 5
    for row, text in zip([*first, *second[2:]], plain, strict=True):
        np.testing.assert_allclose(row, text[0], atol=1e-6)
    with cache.remembering(made):
        made.fit(TEXTS, seed=0)
    assert sum(seen) == 5
    other = backbone(source)
    again = count(other)
    with BackboneCache(tmp_path).remembering(other):  # another process
        other.fit([*TEXTS, "red"], seed=0)
    assert sum(again) == 1
    own = backbone(source)
    own.fit([*TEXTS, "red"], seed=0)
    torch.testing.assert_close(own.mean, other.mean)
    torch.testing.assert_close(own.scale, other.scale)


def test_nothing_is_kept_of_encoders_that_train_or_were_touched(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backbone(source)
    seen = count(made)
    inputs = made.collate(TEXTS)
    for touched in (False, True):
        made.pristine = not touched
        made.train(not touched)
        with BackboneCache(tmp_path).remembering(made), torch.no_grad():
            made(inputs)
            made(inputs)
    made.pristine = True
    with BackboneCache(tmp_path).remembering(made):  # a gradient may be asked for
        made(inputs)
    made.eval()
    with torch.no_grad():  # nobody said where to remember
        made(inputs)
    assert sum(seen) == 5 * 6 and not list(tmp_path.iterdir())


def test_limit_and_damaged_segments(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_memory, "LIMIT", 2)
    made = backbone(source)
    with BackboneCache(tmp_path).remembering(made), torch.no_grad():
        first = made(made.collate(TEXTS))
    (segment,) = tmp_path.glob("texts-*/*.npz")
    assert np.load(segment)["keys"].shape == (2, 16)
    segment.write_bytes(segment.read_bytes()[:100])
    with BackboneCache(tmp_path).remembering(made), torch.no_grad():
        torch.testing.assert_close(made(made.collate(TEXTS)), first)


def test_an_error_inside_writes_nothing(source: str, tmp_path: Path) -> None:
    made = backbone(source)
    with (
        pytest.raises(RuntimeError, match="stop"),
        BackboneCache(tmp_path).remembering(made),
        torch.no_grad(),
    ):
        made(made.collate(TEXTS))
        raise RuntimeError("stop")
    assert not list(tmp_path.rglob("*.npz"))
