"""Import the packages of an extra on demand."""

from __future__ import annotations

import importlib
from typing import Any

from limbeck.errors import LimbeckError


def require(module: str, extra: str = "report") -> Any:
    """Import a module of an extra (`pyproject.toml`).

    Raises:
        LimbeckError: the package is not installed; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise
        name = "scikit-learn" if package == "sklearn" else package
        raise LimbeckError(
            f'{name} is not installed; type: pip install "limbeck[{extra}]"', code="E-PACKAGE-MISSING"
        ) from None
