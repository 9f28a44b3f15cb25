"""One evaluation, or one opening of training data, resolves its protocol exactly once."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.evaluation import evaluate, evaluate_codes
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from tiny import soda_recipe, write_pairs, write_protocol

SECTION = {"classes": "label", "prompts": ["row 1 {}", "row 2 {}"]}


def resolutions(call: Callable[[], Any]) -> int:
    """How often `resolve_splits` ran in a call."""
    profile = cProfile.Profile()
    profile.runcall(call)
    code = resolve_splits.__code__
    key = (code.co_filename, code.co_firstlineno, code.co_name)
    counts = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return int(counts[key][1]) if key in counts else 0


@pytest.mark.parametrize("options", [{"by_label": True}, {"metric_preset": "qinlab"}])
def test_hashing(coder: Any, pairs: Pairs, hashing: Protocol, options: dict[str, Any]) -> None:
    assert resolutions(lambda: evaluate(coder, pairs, hashing, ceiling=False, **options)) == 1


@pytest.mark.parametrize("section", [None, SECTION], ids=["retrieval", "classification"])
def test_retrieval(coder: Any, pairs: Pairs, retrieval: Protocol, section: dict[str, Any] | None) -> None:
    protocol = Protocol.model_validate(retrieval.model_dump() | {"classification": section})
    result = {}
    assert resolutions(lambda: result.update(evaluate(coder, pairs, protocol).metrics)) == 1
    assert ("zero_shot" in result) == (section is not None)


def test_evaluate_codes(pairs: Pairs, hashing: Protocol) -> None:
    assert resolutions(lambda: evaluate_codes("random:16", pairs, hashing, ceiling=False)) == 1


@pytest.mark.parametrize("like", [None, "qinlab"])
def test_training_data(tmp_path: Path, like: str | None) -> None:
    recipe = soda_recipe(write_pairs(tmp_path), write_protocol(tmp_path))
    recipe["data"] |= {"like": like, "limit": 20}
    resolved = load_recipe(recipe)
    assert resolutions(lambda: open_data(resolved)) == 1
