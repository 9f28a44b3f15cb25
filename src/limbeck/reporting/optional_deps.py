"""The ``report`` extra: imported late, and its absence told in one line."""

from __future__ import annotations

import importlib
from typing import Any

from limbeck.errors import LimbeckError


def require(module: str) -> Any:
    """Import a module of the ``report`` extra.

    Raises:
        LimbeckError: it is not installed; the message holds the line to type.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        raise LimbeckError(f'{package} is not installed; type: pip install "limbeck[report]"') from None
