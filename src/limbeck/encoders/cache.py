"""Outputs of frozen backbones on disk: computed once, memory-mapped, keyed by weights and items.

It stands beside the encoders, not in training, because evaluation and search benefit from it too.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.hub import weights_digest
from limbeck.files import write_atomic


class BackboneCache:
    """A folder of ``.npy`` arrays (float32, (N, dim)), one for each pair of backbone and item list."""

    def __init__(self, folder: Path | str | None = None) -> None:
        """``folder`` defaults to ``$LIMBECK_CACHE``, then ``~/.cache/limbeck``."""
        default = os.environ.get("LIMBECK_CACHE") or Path.home() / ".cache" / "limbeck"
        self.folder = Path(folder or default)

    def outputs(self, backbone: Backbone, items_key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The stored array, or ``compute()`` stored first; ``items_key`` names the items and their order."""
        digest = hashlib.sha256(
            f"2|{backbone.cache_key()}|{weights_digest(backbone)}|{items_key}".encode()
        ).hexdigest()
        path = self.folder / f"{digest[:32]}.npy"
        if not path.is_file():
            buffer = io.BytesIO()
            np.save(buffer, np.ascontiguousarray(compute(), np.float32), allow_pickle=False)
            write_atomic(path, buffer.getvalue())
        return np.load(path, mmap_mode="r", allow_pickle=False)


def key_of_items(items: Sequence[Any]) -> str | None:
    """Fingerprint of a list of texts or PIL pictures in order, by content; None for other items."""
    digest = hashlib.sha256()
    for item in items:
        if isinstance(item, str):
            data = item.encode()
        elif isinstance(item, Image.Image):
            data = repr((item.mode, item.size)).encode() + item.tobytes()
        else:
            return None
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
