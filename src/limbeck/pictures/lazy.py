"""Lists of pictures that are opened one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from PIL import Image


class LazyPictures(Sequence[Image.Image]):
    """A sequence that opens a picture on access and keeps none.

    Args:
        opens: functions that open one picture each.
    """

    def __init__(self, opens: Sequence[Callable[[], Image.Image]]) -> None:
        self._opens = opens

    def __len__(self) -> int:
        return len(self._opens)

    @overload
    def __getitem__(self, at: int) -> Image.Image: ...

    @overload
    def __getitem__(self, at: slice) -> LazyPictures: ...

    def __getitem__(self, at: int | slice) -> Image.Image | LazyPictures:
        return LazyPictures(self._opens[at]) if isinstance(at, slice) else self._opens[at]()

    def __iter__(self) -> Iterator[Image.Image]:
        for opens in self._opens:
            yield opens()

    def take(self, positions: Sequence[int]) -> LazyPictures:
        """Return the pictures at some positions, in their order; none is opened yet."""
        return LazyPictures([self._opens[at] for at in positions])
