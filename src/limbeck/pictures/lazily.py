"""Pictures that are opened one at a time, while a list of them is gone through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from PIL import Image


class Lazily(Sequence[Image.Image]):
    """A sequence that opens its pictures when they are asked for and keeps none.

    Args:
        opens: each opens a picture.
    """

    def __init__(self, opens: Sequence[Callable[[], Image.Image]]) -> None:
        self._opens = opens

    def __len__(self) -> int:
        return len(self._opens)

    @overload
    def __getitem__(self, at: int) -> Image.Image: ...

    @overload
    def __getitem__(self, at: slice) -> Lazily: ...

    def __getitem__(self, at: int | slice) -> Image.Image | Lazily:
        return Lazily(self._opens[at]) if isinstance(at, slice) else self._opens[at]()

    def __iter__(self) -> Iterator[Image.Image]:
        for opens in self._opens:
            yield opens()

    def take(self, positions: Sequence[int]) -> Lazily:
        """Those of some positions, in their order; none is opened yet."""
        return Lazily([self._opens[at] for at in positions])
