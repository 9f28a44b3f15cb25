"""Float embeddings kept beside codes: what they are, and how they rank items."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.spaces.base import Space
from limbeck.spaces.registry import space_from_json

Origin = Literal["model", "codes", "given", "unrecorded"]

_ORIGINS: dict[Origin, str] = {
    "model": "the embeddings of the model that the codes were made from",
    "codes": "the numbers whose signs are the codes",
    "given": "embeddings that were given with the codes",
    "unrecorded": "the numbers whose signs are the codes, kept by an earlier version; "
    "build the index anew with --keep-embeddings to rank by the model",
}


@dataclasses.dataclass(frozen=True)
class Kept:
    """What the embeddings of an index are.

    Attributes:
        of: ``model``, the model that the codes were made from; ``codes``, the numbers before their signs;
            ``given``, embeddings from elsewhere; ``unrecorded``, as indexes of version 0.1 kept them.
        space: whose score ranks them; None ranks by the inner product.
        width: numbers in an embedding.
    """

    of: Origin
    space: Space | None
    width: int

    @property
    def score_name(self) -> str:
        """What `scores` returns: "product" or "similarity" (higher is nearer), or "distance" (lower is)."""
        return "product" if self.space is None else self.space.score_name

    @property
    def score_sign(self) -> int:
        """+1 if a higher score is nearer, -1 if a lower one is."""
        return 1 if self.space is None else self.space.score_sign

    def describe(self) -> str:
        """For people: the score and what it is taken of."""
        measure = "inner product" if self.space is None else f"{self.space.name} {self.space.score_name}"
        measure = {"sphere similarity": "cosine", "lorentz distance": "Lorentzian distance"}.get(
            measure, measure
        )
        return f"{measure} of {_ORIGINS[self.of]}"

    def points(self, embeddings: ArrayLike, what: str = "embeddings", *, first: int = 0) -> np.ndarray:
        """Embeddings of any float precision as float32 (N, width): points of `space`, rounding undone.

        Errors name ``what`` and count rows from ``first`` on.

        Raises:
            LimbeckError: another width or type, NaN or infinity, a row of zeros where directions count.
        """
        array = np.asarray(embeddings)
        if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] != self.width:
            raise LimbeckError(
                f"{what}: {array.dtype} {array.shape}, the index keeps those of width {self.width}"
            )
        array = array.astype(np.float32, copy=False)
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise LimbeckError(
                f"{what}: row {first + bad[0]} holds NaN or infinity; see what it was made from"
            )
        if self.space is None:
            return array
        return self.space.restored(array, what=what, first=first)

    def scores(self, query: np.ndarray, items: np.ndarray) -> np.ndarray:
        """float64 (N,): the score of one query (width,) with each item (N, width), both of `points`."""
        if self.space is None:
            return items.astype(np.float64) @ query.astype(np.float64)
        return self.space.rescore(query[None], items)

    def to_json(self) -> dict[str, Any]:
        """As a manifest or an encoded set records it."""
        space = None if self.space is None else self.space.to_json()
        return {"of": self.of, "space": space, "width": self.width}

    @classmethod
    def from_json(cls, value: Any) -> Kept:
        """What `to_json` wrote.

        Raises:
            LimbeckError: fields that are missing or of a wrong type.
        """
        fields = value if isinstance(value, dict) else {}
        of = next((known for known in get_args(Origin) if known == fields.get("of")), None)
        space, width = fields.get("space"), fields.get("width")
        if of is None or not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise LimbeckError(f"embeddings: {value!r} does not say what they are")
        found = None if space is None else space_from_json(space)
        if found is not None and (found.storage != "vectors" or found.width != width):
            raise LimbeckError(f"embeddings: {found!r} does not fit a width of {width}")
        return cls(of, found, width)
