"""The decorator of every compiled loop in limbeck."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any] | None = None, *, fastmath: set[str] | None = None) -> Any:
    """Compile a function at its first call, without the interpreter lock, and keep the result on disk.

    Compiling takes seconds, so it should happen once a machine. Where no folder can be written, neither
    beside the source nor in the user's cache (as in some containers), it happens once a process instead.
    """
    if function is None:
        return lambda decorated: kernel(decorated, fastmath=fastmath)
    options: dict[str, Any] = {"nogil": True, "fastmath": fastmath or False}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        return njit(**options)(function)
