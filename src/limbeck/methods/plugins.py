"""Methods by name: those that ship, and a class of one's own in a file, ``margin.py:Margin``."""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path

from limbeck.encoders.config import Strict
from limbeck.errors import LimbeckError
from limbeck.methods import METHODS
from limbeck.methods.base import Method

# Members of a method that version 0.1 called otherwise.
_RENAMED = {
    "objective": "loss",
    "represent": "encode_batch",
    "enrol": "__init__(encoder, config, setup)",
    "meet": "__init__(encoder, config, setup)",
}
_OWN = re.compile(r"(?P<file>.+\.py):(?P<cls>\w+)")


def find_method(name: str) -> type[Method]:
    """The class of a method.

    Args:
        name: one of `limbeck.methods.METHODS`, or ``FILE.py:CLASS``; a relative path counts from the working
            directory. The file is run, as any Python module is on its import.

    Raises:
        LimbeckError: no such method or file, a file that does not run, a class that is no method.
    """
    if name in METHODS:
        return METHODS[name]
    match = _OWN.fullmatch(name)
    if match is None:
        close = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(METHODS)}"
        raise LimbeckError(f"no method {name!r}; {hint}, or a class of yours as FILE.py:CLASS")
    file = Path(match["file"])
    if not file.is_file():
        raise LimbeckError(f"{file}: no such file; a method of yours is named FILE.py:CLASS")
    spec = importlib.util.spec_from_file_location(f"limbeck_own_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LimbeckError(f"{file}: does not run ({type(error).__name__}: {error}); mend it") from error
    found = getattr(module, match["cls"], None)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise LimbeckError(f"{file}: holds no method {match['cls']!r}, a class derived from Method")
    for old, new in _RENAMED.items():
        if old in vars(found):
            raise LimbeckError(
                f"{file}: {match['cls']} defines {old}, which is called {new} since version 0.2; rename it"
            )
    if missing := getattr(found, "__abstractmethods__", None):
        raise LimbeckError(f"{file}: {match['cls']} lacks {', '.join(sorted(missing))}; write it")
    if not issubclass(getattr(found, "Config", type), Strict):
        raise LimbeckError(f"{file}: {match['cls']} lacks a class Config derived from Strict; add one")
    return found
