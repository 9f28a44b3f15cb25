"""A bound on the pixels that all threads of a process decode at one time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


class PixelBudget:
    """A budget of pixels. A picture waits until it fits; one larger than the budget waits until it is alone.

    A thread that holds pixels gets more without waiting, so that threads cannot block each other.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.clear()

    def clear(self) -> None:
        """Forget all holds, as a forked child must."""
        self._free, self._change, self._mine = self.pixels, threading.Condition(), threading.local()

    @property
    def free(self) -> int:
        """The number of pixels that nobody holds."""
        return self._free

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Hold ``pixels`` until the context ends, or until the thread's `keep` ends."""
        held: int = getattr(self._mine, "held", 0)
        taken = min(pixels, self.pixels)
        with self._change:
            if not held:
                self._change.wait_for(lambda: self._free >= taken)
            self._free -= taken
        self._mine.held = held + taken
        try:
            yield
        finally:
            if not getattr(self._mine, "keeps", 0):
                self._release(taken)

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Keep this thread's holds until the context ends, for work that continues on its pictures."""
        before: int = getattr(self._mine, "held", 0)
        self._mine.keeps = getattr(self._mine, "keeps", 0) + 1
        try:
            yield
        finally:
            self._mine.keeps -= 1
            if not self._mine.keeps:
                self._release(getattr(self._mine, "held", 0) - before)

    def _release(self, pixels: int) -> None:
        self._mine.held = getattr(self._mine, "held", 0) - pixels
        with self._change:
            self._free += pixels
            self._change.notify_all()


# Pillow allocates pictures in blocks of 16 MiB, and the C library keeps blocks of up to 32 MiB for the thread
# that freed them: sixteen alternating threads would hold sixteen large pictures. Larger blocks are returned
# at once.
with contextlib.suppress(AttributeError, ValueError):
    Image.core.set_block_size(1 << 26)
# A decoded pixel takes about 8 bytes at its peak: the picture as it is stored, and as RGB.
PIXEL_BUDGET = PixelBudget(1 << 27)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PIXEL_BUDGET.clear)
