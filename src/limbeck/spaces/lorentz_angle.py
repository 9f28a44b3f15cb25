"""Define the Lorentz space compared by angles: a picture may lie far from its text, on the same ray."""

from __future__ import annotations

import dataclasses
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.spaces import hyperboloid
from limbeck.spaces.base import checked_broadcast
from limbeck.spaces.lorentz import Lorentz


@dataclasses.dataclass(frozen=True)
class LorentzAngle(Lorentz):
    """The hyperboloid of curvature -curv, compared by exterior angles.

    The similarity of two points is the exterior angle at the one that is farther from the origin, minus that
    at the nearer one. It is π where the nearer point lies on the way from the origin to the farther one, and
    0 where both are equally far. It is the sum of the two logits of a pair in ATMG (Ramasinghe et al. 2024,
    "Accept the Modality Gap"), with the nearer point as the text.

    No engine of an index computes it: it is no inner product of two vectors.
    """

    name: str = dataclasses.field(default="lorentz-angle", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="similarity", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=1, init=False, repr=False)

    @property
    def is_indexable(self) -> bool:
        """Always False: no engine ranks by angles."""
        return False

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the difference of the angles, float32 (Q, N), computed in float64."""
        (x, far), (y, other) = (self._polar(p, w) for p, w in ((queries, "queries"), (items, "items")))
        cosine = np.clip(x @ y.T, -1, 1)
        angles = _difference(far[:, None], other, np.sqrt(2 + 2 * cosine), np.sqrt(2 - 2 * cosine))
        return angles.astype(np.float32)

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the difference of the angles, float64."""
        left, right = checked_broadcast(self.check, queries, items, ("queries", "items"))
        (x, far), (y, other) = (self._rays(p.astype(np.float64)) for p in (left, right))
        return _difference(far, other, np.linalg.norm(x + y, axis=-1), np.linalg.norm(x - y, axis=-1))

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Raise a `LimbeckError`: no engine ranks by angles."""
        self._no_engine()

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """Raise a `LimbeckError`: no engine ranks by angles."""
        self._no_engine()

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """Raise a `LimbeckError`: no engine ranks by angles."""
        self._no_engine()

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """Raise a `LimbeckError`: no engine ranks by angles."""
        self._no_engine()

    def _polar(self, points: ArrayLike, what: str) -> tuple[np.ndarray, np.ndarray]:
        return self._rays(self.check(points, what=what).astype(np.float64))

    def _rays(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return unit directions (…, dim), 0 for the origin, and radii (…) in units of 1/√curv."""
        norm = np.sqrt(hyperboloid.dot(x, x))
        return x / np.where(norm > 0, norm, 1)[..., None], np.arcsinh(np.sqrt(self.curv) * norm)

    def _no_engine(self) -> NoReturn:
        raise LimbeckError(
            f"space {self.name}: no engine of an index ranks by angles; train a method that ranks by "
            "distance, such as meru with lift.logit: distance",
            code="E-ENGINE-CANNOT",
        )


def _difference(r: np.ndarray, s: np.ndarray, together: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Return the difference of the two angles beside the side between two radii (Napier's analogy).

    Args:
        r: radii of the first points, in units of 1/√curv.
        s: radii of the second points.
        together: 2 cos(θ/2) of the angle θ between their directions.
        apart: 2 sin(θ/2).
    """
    return np.asarray(
        2 * np.arctan2(np.sinh(np.abs(r - s) / 2) * together, np.sinh((r + s) / 2) * apart), np.float64
    )
