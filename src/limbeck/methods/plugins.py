"""Methods by name: those that ship, and user-defined classes in a file, ``margin.py:Margin``."""

from __future__ import annotations

from limbeck.encoders.config import Strict
from limbeck.errors import LimbeckError, proposal
from limbeck.methods import METHODS
from limbeck.methods.base import Method
from limbeck.plugins import OwnClass, named_class, own_name

# Members of a method that version 0.1 called otherwise.
_RENAMED = {
    "objective": "loss",
    "represent": "encode_batch",
    "enrol": "__init__(encoder, config, setup)",
    "meet": "__init__(encoder, config, setup)",
}


def find_method(name: str) -> type[Method]:
    """Return the class of a method.

    Args:
        name: one of `limbeck.methods.METHODS`, or ``FILE.py:CLASS``; a relative path counts from the working
            directory. The name of the file is printed; then it is run, as any Python module is on import.

    Raises:
        LimbeckError: there is no such method or file, the file does not run, or its class is no method.
    """
    if name in METHODS:
        return METHODS[name]
    own = own_name(name)
    if own is None:
        hint = proposal(name, METHODS, "limbeck list methods")
        raise LimbeckError(
            f"there is no method {name!r}; {hint}, or name your class FILE.py:CLASS", code="E-METHOD-UNKNOWN"
        )
    found = named_class(name, Method, "method", before=_check_names)  # type: ignore[type-abstract]
    if not issubclass(getattr(found, "Config", type), Strict):
        raise LimbeckError(
            f"{own.file}: {own.cls} lacks a class Config derived from Strict; add one", code="E-PLUGIN-CLASS"
        )
    return found


def _check_names(found: type[Method], own: OwnClass) -> None:
    for old, new in _RENAMED.items():
        if old in vars(found):
            raise LimbeckError(
                f"{own.file}: {own.cls} defines {old}, which is called {new} since version 0.2; rename it",
                code="E-PLUGIN-CLASS",
            )
