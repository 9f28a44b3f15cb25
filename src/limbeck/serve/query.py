"""Turns requests into queries of an index."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from limbeck.errors import LimbeckError
from limbeck.index.milvus.address import is_address
from limbeck.index.query import SearchOptions
from limbeck.search import Term
from limbeck.search.queries import describe_query
from limbeck.serve.schemas import MAX_K, Options, SearchBody, SearchParams


@dataclass(frozen=True)
class Query:
    """The query that one request sends to an index.

    Attributes:
        terms: the weighted parts, at least one.
        options: what to return.
    """

    terms: tuple[Term, ...]
    options: SearchOptions

    @property
    def key(self) -> Hashable | None:
        """A key that equal queries share; None for a query with an uploaded picture."""
        if any(term.image is not None for term in self.terms):
            return None
        return tuple((term.kind, term.value, term.weight) for term in self.terms), self.options

    @property
    def reads(self) -> Hashable:
        """The options that queries must share to be encoded together."""
        return self.options.asymmetric, self.options.rerank is not None

    @property
    def words(self) -> str:
        """The query as people read it: ``a beach − people``."""
        return describe_query(self.terms)


def from_params(params: SearchParams) -> Query:
    """Return the query of ``GET /search``."""
    terms = [Term(text=text) for text in params.q]
    terms += [Term(id=item) for item in params.like]
    terms += [Term(text=text, weight=-1.0) for text in params.not_]
    return query_of(terms, params)


def from_body(body: SearchBody, files: Sequence[tuple[bytes, str | None]], *, pixels: int) -> Query:
    """Return the query of ``POST /search``, whose pictures it decodes.

    Args:
        body: the JSON of the request.
        files: content and declared type of the uploaded pictures; they are further terms of weight 1.
        pixels: the largest number of pixels of all pictures together.
    """
    from limbeck.serve.uploads import Uploads  # with Pillow, which a text does not need

    uploads = Uploads(pixels)
    inline = [None if term.image is None else uploads.admit_base64(term.image) for term in body.terms]
    sent = [uploads.admit(data, declared) for data, declared in files]
    terms = [
        Term(text=term.text, id=term.id, image=None if image is None else image.decode(), weight=term.weight)
        for term, image in zip(body.terms, inline, strict=True)
    ]
    terms += [Term(image=image.decode()) for image in sent]
    return query_of(terms, body)


def query_of(terms: Sequence[Term], given: Options) -> Query:
    """Return the query of some terms with the options of a request."""
    if not terms:
        raise LimbeckError("search: there is no query; give q, like or terms", code="E-QUERY-FORM")
    if is_address(given.engine):
        raise LimbeckError(
            "engine: an address is not accepted; give exact, auto or an engine of the index",
            code="E-OPTION-CHOICE",
        )
    options = SearchOptions(
        k=MAX_K if given.k is None and given.radius is not None else given.k,
        where=given.where,
        radius=given.radius,
        hierarchy=given.hierarchy,
        engine=given.engine,
        recall=given.recall,
        rerank=given.rerank,
        asymmetric=given.asymmetric,
        bits=given.bits,
        fold=given.fold,
        min_confidence=given.min_confidence,
    )
    return Query(tuple(terms), options)
