"""Keeps answers in memory; the least recently used ones are removed first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bytes, str)
_OVERHEAD = 500  # bytes of an entry's key and links, roughly


class Cache(Generic[T]):
    """Holds texts or byte strings up to a total size; threads may share it."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._entries: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return the value of a key, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: Hashable, value: T) -> None:
        """Store a value, if it fits."""
        with self._lock:
            if key in self._entries or len(value) + _OVERHEAD > self._most:
                return
            self._entries[key] = value
            self._size += len(value) + _OVERHEAD
            while self._size > self._most:
                self._size -= len(self._entries.popitem(last=False)[1]) + _OVERHEAD
