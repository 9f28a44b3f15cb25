"""Turns requests into queries of an index."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.index.milvus.address import is_address
from limbeck.index.query import SearchOptions
from limbeck.serve.schemas import Options, SearchBody, SearchParams, TermBody

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Term:
    """Is one part of a query: a text, a picture or the id of an item, with its weight."""

    text: str | None = None
    image: Image.Image | None = field(default=None, compare=False)
    id: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """Is what one request asks of an index.

    Attributes:
        terms: the weighted parts, at least one.
        options: what to return.
    """

    terms: tuple[Term, ...]
    options: SearchOptions

    @property
    def has_picture(self) -> bool:
        """Whether a part is an uploaded picture."""
        return any(term.image is not None for term in self.terms)

    @property
    def words(self) -> str:
        """The query as people read it: ``a beach − people``."""
        parts = []
        for number, term in enumerate(self.terms):
            sign = "− " if term.weight < 0 else "+ " if number else ""
            size = "" if abs(term.weight) == 1 else f"{abs(term.weight):g}·"
            parts.append(sign + size + (term.text or term.id or "picture"))
        return " ".join(parts)


def from_params(params: SearchParams) -> Query:
    """Return the query of ``GET /search``."""
    terms = [Term(text=text) for text in params.q]
    terms += [Term(id=item) for item in params.like]
    terms += [Term(text=text, weight=-1.0) for text in params.not_]
    return _query(terms, params)


def from_body(body: SearchBody, pictures: Sequence[Image.Image] = ()) -> Query:
    """Return the query of ``POST /search``; uploaded pictures are further terms of weight 1."""
    terms = [_term(term, number) for number, term in enumerate(body.terms)]
    return _query([*terms, *(Term(image=picture) for picture in pictures)], body)


def _query(terms: list[Term], given: Options) -> Query:
    if not terms:
        raise LimbeckError("search: no query; give q, like or terms", code="E-QUERY-FORM")
    if is_address(given.engine):
        raise LimbeckError(
            "engine: an address is not accepted; give exact, auto or an engine of the index",
            code="E-OPTION-CHOICE",
        )
    options = SearchOptions(
        k=given.k,
        where=given.where,
        radius=given.radius,
        hierarchy=given.hierarchy,
        engine=given.engine,
        recall=given.recall,
        rerank=given.rerank,
        asymmetric=given.asymmetric,
    )
    return Query(tuple(terms), options)


def _term(term: TermBody, number: int) -> Term:
    if term.image is None:
        return Term(text=term.text, id=term.id, weight=term.weight)
    return Term(image=decoded(term.image, f"terms.{number}.image"), weight=term.weight)


def decoded(text: str, name: str) -> Image.Image:
    """Decode a picture in base64.

    Raises:
        LimbeckError: it is not base64 or not a picture; the error has ``name``.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise LimbeckError(f"{name}: is not base64; encode a picture file", code="E-REQUEST-FORM") from None
    return picture(data, name)


def picture(data: bytes, name: str) -> Image.Image:
    """Decode an uploaded picture file; errors contain ``name``."""
    from limbeck.pictures import decode_picture  # with Pillow, which a text does not need

    return decode_picture(io.BytesIO(data), name)
