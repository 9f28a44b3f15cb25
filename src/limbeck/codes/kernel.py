"""Compile loops with numba; every compiled loop in limbeck uses this decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., object])


def kernel(function: Loop, *, fastmath: set[str] | None = None) -> Loop:
    """Compile a function at its first call, release the interpreter lock, and cache the result on disk.

    Compilation takes seconds and happens once per machine. Where neither the source folder nor the user's
    cache is writable (as in some containers), it happens once per process.
    """
    compiler = functools.partial(njit, nogil=True, fastmath=fastmath or False)
    try:
        return cast("Loop", compiler(cache=True)(function))
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        return cast("Loop", compiler()(function))
