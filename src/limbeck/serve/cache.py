"""Keeps answers in memory: the least recently used ones leave first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

_OVERHEAD = 500  # bytes of an entry's key and links, roughly


class AnswerCache:
    """Holds byte strings up to a total size; for one thread."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._entries: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable) -> bytes | None:
        """Return the answer of a key, or None."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: Hashable, answer: bytes) -> None:
        """Store an answer, if it fits."""
        if key in self._entries or len(answer) + _OVERHEAD > self._most:
            return
        self._entries[key] = answer
        self._size += len(answer) + _OVERHEAD
        while self._size > self._most:
            self._size -= len(self._entries.popitem(last=False)[1]) + _OVERHEAD
