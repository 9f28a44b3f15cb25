"""A bound on how many pixels are decoded at one time, over all threads of a process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


class Room:
    """Room for so many pixels. A picture waits until it fits; a larger one than that waits until it is alone.

    A thread that holds some already takes more without waiting, so threads cannot block each other.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.clear()

    def clear(self) -> None:
        """Forget all that is held, as a forked child must."""
        self._free, self._change, self._mine = self.pixels, threading.Condition(), threading.local()

    @property
    def free(self) -> int:
        """Pixels that nobody holds."""
        return self._free

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Hold so many pixels; given back at the end, or at the end of the thread's `keep`."""
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
                self._give(taken)

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Give back only at the end what this thread's pictures hold: for work that goes on with them."""
        before: int = getattr(self._mine, "held", 0)
        self._mine.keeps = getattr(self._mine, "keeps", 0) + 1
        try:
            yield
        finally:
            self._mine.keeps -= 1
            if not self._mine.keeps:
                self._give(getattr(self._mine, "held", 0) - before)

    def _give(self, pixels: int) -> None:
        self._mine.held = getattr(self._mine, "held", 0) - pixels
        with self._change:
            self._free += pixels
            self._change.notify_all()


# Pillow takes a picture's memory in blocks of 16 MiB, and the C library keeps blocks of up to 32 MiB for the
# thread that freed them: sixteen threads that take turns would hold sixteen large pictures. Larger blocks go
# back at once.
with contextlib.suppress(AttributeError, ValueError):
    Image.core.set_block_size(1 << 26)
# A decoded pixel takes about 8 bytes at its peak: the picture as it is stored, and as RGB.
ROOM = Room(1 << 27)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ROOM.clear)
