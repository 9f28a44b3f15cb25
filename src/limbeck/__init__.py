"""limbeck: distil large vision-language models into small ones for image-text search.

The public names load on first use, so that ``import limbeck`` stays fast and never imports torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime's builds report their use to Microsoft unless told otherwise before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_PUBLIC = {
    "load": ("limbeck.encoders.load", "load"),
    "DualEncoder": ("limbeck.encoders.dual", "DualEncoder"),
    "train": ("limbeck.training", "train"),
    "evaluate": ("limbeck.evaluation", "evaluate"),
    "Index": ("limbeck.search", "Index"),
    "Pairs": ("limbeck.data.pairs", "Pairs"),
    "Client": ("limbeck.client", "Client"),
    "LimbeckError": ("limbeck.errors", "LimbeckError"),
}

__all__ = ["Client", "DualEncoder", "Index", "LimbeckError", "Pairs", "evaluate", "load", "train"]

if TYPE_CHECKING:
    from limbeck.client import Client
    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoders.load import load
    from limbeck.errors import LimbeckError
    from limbeck.evaluation import evaluate
    from limbeck.search import Index
    from limbeck.training import train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'limbeck' has no attribute {name!r}")
    from limbeck.optional_deps import require

    module, attribute = _PUBLIC[name]
    return getattr(require(module), attribute)
