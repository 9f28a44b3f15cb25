"""Import the packages of the ``report`` extra on demand."""

from __future__ import annotations

import importlib
from typing import Any

from limbeck.errors import LimbeckError


def require(module: str) -> Any:
    """Import a module of the ``report`` extra.

    Raises:
        LimbeckError: the package is not installed; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        raise LimbeckError(f'{package} is not installed; type: pip install "limbeck[report]"') from None
