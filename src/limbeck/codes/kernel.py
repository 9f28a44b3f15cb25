"""Compile loops with numba; every compiled loop in limbeck uses this decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any] | None = None, *, fastmath: set[str] | None = None) -> Any:
    """Compile a function at its first call, release the interpreter lock, and cache the result on disk.

    Compilation takes seconds and happens once per machine. Where neither the source folder nor the user's
    cache is writable (as in some containers), it happens once per process.
    """
    if function is None:
        return lambda decorated: kernel(decorated, fastmath=fastmath)
    options: dict[str, Any] = {"nogil": True, "fastmath": fastmath or False}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        return njit(**options)(function)
