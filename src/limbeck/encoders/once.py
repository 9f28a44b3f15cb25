"""Work that the stages of a run have in common: networks that are read once, fits that are computed once."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TypeVar, cast

import numpy as np
import torch

from limbeck.encoders.backbone import Backbone
from limbeck.files import sha256_json

Made = TypeVar("Made")
_KEPT: ContextVar[dict[str, object] | None] = ContextVar("kept", default=None)


@contextlib.contextmanager
def work_shared() -> Iterator[None]:
    """Let `once` keep what it makes, in memory, until this context ends."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def once(key: str, make: Callable[[], Made]) -> Made:
    """Return what ``make`` returns; inside `work_shared` from the second time on a copy of it.

    What draws random numbers is made every time, since the initial weights of a run depend on the draws.
    """
    kept = _KEPT.get()
    if kept is None:
        return make()
    if key not in kept:
        before = torch.get_rng_state()
        made = make()
        if torch.equal(before, torch.get_rng_state()):
            kept[key] = copy.deepcopy(made)
        return made
    return cast("Made", copy.deepcopy(kept[key]))


def fitted(backbone: Backbone, items: Sequence[object], seed: int) -> Backbone:
    """Fit a backbone, and return it; inside `work_shared` a copy of one that was fitted to the same items.

    A backbone with parameters is always fitted itself, since copies of large networks cost more memory than
    their fit costs time.
    """

    def fit() -> Backbone:
        backbone.fit(items, seed=seed)
        return backbone

    if _KEPT.get() is None or list(backbone.parameters()):
        return fit()
    return once(
        sha256_json(
            [type(backbone).__qualname__, backbone.config.model_dump(mode="json"), _key(items), seed]
        ),
        fit,
    )


def _key(items: Sequence[object]) -> str:
    if isinstance(items, np.ndarray):
        return hashlib.sha256(f"{items.dtype}{items.shape}".encode() + items.tobytes()).hexdigest()
    return sha256_json(list(items))
