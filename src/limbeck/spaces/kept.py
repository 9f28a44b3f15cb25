"""Describe the float embeddings that an index keeps with its hash codes, and score items by them."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.spaces.base import Space
from limbeck.spaces.registry import space_from_json
from limbeck.typed import Json

Origin = Literal["model", "codes", "given", "unrecorded"]

_ORIGINS: dict[Origin, str] = {
    "model": "the embeddings of the model that the codes were made from",
    "codes": "the numbers whose signs are the codes",
    "given": "embeddings that were given with the codes",
    "unrecorded": "the numbers whose signs are the codes, kept by an earlier version; "
    "rebuild the index with --keep-embeddings to rank by the model",
}


@dataclasses.dataclass(frozen=True)
class Kept:
    """A description of the embeddings of an index.

    Attributes:
        of: origin of the embeddings. ``model``: the model that the codes were made from. ``codes``: the real
            numbers whose signs are the codes. ``given``: external embeddings. ``unrecorded``: those of
            indexes of version 0.1.
        space: space whose score ranks them; None ranks by the inner product.
        width: dimension of an embedding.
    """

    of: Origin
    space: Space | None
    width: int

    @property
    def score_name(self) -> str:
        """The kind of `scores`: "product" or "similarity" (higher is nearer), or "distance" (lower is)."""
        return "product" if self.space is None else self.space.score_name

    @property
    def score_sign(self) -> int:
        """+1 if a higher score is nearer, -1 if a lower one is."""
        return 1 if self.space is None else self.space.score_sign

    def describe(self) -> str:
        """Return a description for users: the score and the origin of the embeddings."""
        measure = "inner product" if self.space is None else f"{self.space.name} {self.space.score_name}"
        measure = {"sphere similarity": "cosine", "lorentz distance": "Lorentzian distance"}.get(
            measure, measure
        )
        return f"{measure} of {_ORIGINS[self.of]}"

    def points(self, embeddings: ArrayLike, what: str = "embeddings", *, first: int = 0) -> np.ndarray:
        """Convert embeddings of any float precision to float32 (N, width), valid points of `space`.

        Args:
            embeddings: float (N, width).
            what: name of the embeddings in errors.
            first: row number of the first embedding in errors.

        Raises:
            LimbeckError: the width or the type is wrong; a row has NaN or infinity; a row is all zeros in a
                space that compares directions.
        """
        array = np.asarray(embeddings)
        if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] != self.width:
            raise LimbeckError(
                f"{what}: holds {array.dtype} {array.shape}; the index needs floats of width {self.width}",
                code="E-ARRAY-SHAPE",
            )
        array = array.astype(np.float32, copy=False)
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise LimbeckError(
                f"{what}: row {first + bad[0]} holds NaN or infinity; check the input of that row",
                code="E-ARRAY-VALUES",
            )
        if self.space is None:
            return array
        return self.space.restored(array, what=what, first=first)

    def scores(self, query: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the score of one query (width,) with each item (N, width), float64 (N,).

        Query and items must come from `points`.
        """
        if self.space is None:
            return items.astype(np.float64) @ query.astype(np.float64)
        return self.space.rescore(query[None], items)

    def to_json(self) -> dict[str, Json]:
        """Return the description as a JSON object, for a manifest or an encoded set."""
        space = None if self.space is None else self.space.to_json()
        return {"of": self.of, "space": space, "width": self.width}

    @classmethod
    def from_json(cls, value: object) -> Kept:
        """Read the object that `to_json` returned.

        Raises:
            LimbeckError: a field is missing or invalid.
        """
        fields = value if isinstance(value, dict) else {}
        of = next((known for known in get_args(Origin) if known == fields.get("of")), None)
        space, width = fields.get("space"), fields.get("width")
        if of is None or not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise LimbeckError(
                f"embeddings: {value!r} is not a description of embeddings", code="E-FILE-FIELD"
            )
        ranked_in = None if space is None else space_from_json(space)
        if ranked_in is not None and (ranked_in.storage != "vectors" or ranked_in.width != width):
            raise LimbeckError(
                f"embeddings: {ranked_in!r} does not fit a width of {width}", code="E-FILE-FIELD"
            )
        return cls(of, ranked_in, width)
