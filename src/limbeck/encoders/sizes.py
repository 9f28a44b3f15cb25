"""Bounds for the sizes in a saved network's configuration, checked before anything is allocated."""

from __future__ import annotations

import re
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.typed import Json

MAX_LAYERS = 1_000  # building more takes hours
MAX_ROWS = 1 << 24  # entries of a vocabulary
MAX_SIZE = 1 << 20  # any other size: widths, positions, heads, pixels of a side
MAX_WEIGHTS = 1 << 32  # of one matrix; the largest known vocabulary times its width is about half of it

_LAYERS = re.compile(r"(layers?|n_layer)$")
_SIZE = re.compile(
    r"(sizes?|dims?|rank|width|embeddings|positions|heads|channels|experts|buckets|depths?)$"
    r"|^(d_\w+|n_embd|n_inner|n_ctx|n_head)$"
)
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "projection_dim")


def check_size(where: Path, stored: object) -> None:
    """Refuse a saved network of more layers, or of a larger size, than any has.

    Args:
        where: the file, for the error.
        stored: its content; parts in dictionaries and lists are checked too.

    Raises:
        LimbeckError: a size exceeds its bound; the error names both.
    """
    if isinstance(stored, list):
        for part in stored:
            check_size(where, part)
    if not isinstance(stored, dict):
        return
    for key, value in stored.items():
        for number in value if isinstance(value, list) else [value]:
            bound = _bound(key)
            if bound is not None and isinstance(number, int) and number > bound:
                raise _too_large(where, key, number, bound)
        check_size(where, value)
    _check_matrices(where, stored)


def _bound(key: str) -> int | None:
    if _LAYERS.search(key):
        return MAX_LAYERS
    if key.endswith("vocab_size"):
        return MAX_ROWS
    return MAX_SIZE if _SIZE.search(key) else None


def _check_matrices(where: Path, stored: dict[str, Json]) -> None:
    """Refuse sizes that are possible alone but not together."""
    sizes = {key: v for key, v in stored.items() if isinstance(v, int) and _bound(key) is not None and v > 0}
    side, patch = sizes.get("image_size"), sizes.get("patch_size")
    others = {key: size for key, size in sizes.items() if key not in ("image_size", "patch_size")}
    if side is not None and patch is not None:
        others["the number of patches"] = (side // patch) ** 2
        others["the size of a patch"] = patch**2 * sizes.get("num_channels", 3)
        if others["the number of patches"] > MAX_SIZE:
            raise _too_large(where, "the number of patches", others["the number of patches"], MAX_SIZE)
    for name in _WIDTHS:
        for key, size in others.items():
            if size * sizes.get(name, 0) > MAX_WEIGHTS:
                raise _too_large(where, f"{key} × {name}", size * sizes[name], MAX_WEIGHTS)


def _too_large(where: Path, what: str, number: int, bound: int) -> LimbeckError:
    return LimbeckError(
        f"{where}: {what} is {number:,}, above the limit of {bound:,}; restore the file or train again",
        code="E-MODEL-DAMAGED",
    )
