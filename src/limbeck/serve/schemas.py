"""Defines the JSON of requests and answers; FastAPI describes it in ``/openapi.json``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from limbeck.index.query import RECALL
from limbeck.typed import Json

MAX_K = 1000
MAX_TERMS = 32
ItemId = Annotated[str, Path(description="The id of an item; it may contain /.", examples=["2018/beach.jpg"])]


class Options(BaseModel):
    """Says which items a search returns."""

    model_config = ConfigDict(extra="forbid")

    index: str | None = Field(None, description="The name of the index; by default the first one.")
    k: int | None = Field(
        None, ge=1, le=MAX_K, description="The number of hits; by default 10, or 1,000 within a radius."
    )
    where: str | None = Field(
        None, max_length=4000, description="A filter on the metadata, such as: labels has sky and width > 300"
    )
    radius: float | None = Field(
        None, allow_inf_nan=False, description="The largest distance, or the least similarity, of a hit."
    )
    hierarchy: Literal["more-general", "more-specific"] | None = Field(
        None, description="Only items that entail the query, or that it entails (Lorentz)."
    )
    engine: str = Field("exact", max_length=100, description="exact, auto, or an engine that was built.")
    recall: float = Field(RECALL, gt=0, le=1, description="The recall that an engine has to reach.")
    rerank: int | None = Field(
        None, ge=1, le=10_000, description="Re-rank this many nearest codes by the kept embeddings."
    )
    asymmetric: bool | None = Field(
        None, description="Compare codes with the query's real numbers; by default as the index's model."
    )
    bits: int | None = Field(
        None, ge=8, le=65_536, description="Compare only the first bits of codes, a multiple of 8."
    )
    fold: bool = Field(False, description="Count near-duplicates as one hit.")
    min_confidence: float | None = Field(None, ge=0, le=1, description="Drop hits of less confidence.")


class SearchParams(Options):
    """Holds the query parameters of ``GET /search``."""

    q: list[str] = Field(default_factory=list, max_length=MAX_TERMS, description="Texts to look for.")
    like: list[str] = Field(
        default_factory=list, max_length=MAX_TERMS, description="Ids of items to look for similar ones."
    )
    not_: list[str] = Field(
        default_factory=list, max_length=MAX_TERMS, alias="not", description="Texts to leave out."
    )


class TermBody(BaseModel):
    """One part of a query: a text, a picture or an item, with its weight."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(None, max_length=20_000)
    image: str | None = Field(None, description="A picture file in base64.")
    id: str | None = None
    weight: float = Field(1.0, allow_inf_nan=False, ge=-100, le=100)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.text, self.image, self.id)) != 1:
            raise ValueError("give exactly one of text, image and id")
        return self


class SearchBody(Options):
    """The JSON of ``POST /search``."""

    terms: list[TermBody] = Field([], max_length=MAX_TERMS)


class HitBody(BaseModel):
    """One hit of a search, or an item, which has no score."""

    id: str = Field(examples=["2018/beach.jpg"])
    score: float | None = Field(examples=[7])
    confidence: float | None = Field(None, description="The probability that the hit is right (see `/info`).")
    alike: list[str] = Field([], description="Ids of near-duplicates that the hit stands for.")
    metadata: dict[str, Json] = Field(examples=[{"path": "2018/beach.jpg", "labels": ["sea", "sky"]}])
    thumbnail: str | None = Field(None, examples=["/thumbnails/2018%2Fbeach.jpg?index=pictures"])
    picture: str | None = Field(None, examples=["/pictures/2018%2Fbeach.jpg?index=pictures"])


class SearchAnswer(BaseModel):
    """The answer to a search."""

    index: str
    generation: int
    score_name: str
    engine: str
    query: str
    hits: list[HitBody]
    ms: float = Field(description="Milliseconds from the request to the answer, with the wait for a batch.")


class Fault(BaseModel):
    """Describes what was wrong."""

    code: str = Field(examples=["E-ID-UNKNOWN"])
    message: str = Field(
        examples=["pictures: there is no item with id 'none'; ids look like '2018/beach.jpg'"]
    )
    correlation_id: str = Field(examples=["5f2c9d03b1a74e68"])


class ErrorAnswer(BaseModel):
    """The answer to every request that fails."""

    error: Fault


class IndexInfo(BaseModel):
    """Describes an index: what it holds, and what it can be asked.

    ``text`` and ``pictures`` say which queries its encoder reads, ``prefixes`` which ``bits`` its codes
    allow, and ``confidence`` whether hits of a text, picture or item have one.
    """

    name: str = Field(examples=["pictures"])
    items: int = Field(examples=[12_000])
    space: dict[str, Json] = Field(examples=[{"name": "hamming", "bits": 64}])
    bits: int | None
    score_name: str
    generation: int
    text: bool
    pictures: bool
    engines: list[str]
    has_media: bool
    cones: bool
    prefixes: list[int]
    confidence: dict[str, str] = Field(
        description="What the confidence of hits means, for queries by text and by image; empty without."
    )
    kept: str | None


class Info(BaseModel):
    """Describes the service."""

    version: str
    indexes: list[IndexInfo]


class Health(BaseModel):
    """Says that the process runs, or that it is ready to answer."""

    status: str = Field(examples=["ok"])


FAULTS: dict[int | str, dict[str, object]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        400: "The request is malformed.",
        401: "The API key is missing or wrong.",
        404: "There is no such index, item or engine.",
        409: "The index cannot answer this kind of query.",
        413: "The request is too large.",
        415: "The body has another type.",
        422: "A field has an invalid value.",
        429: "Too many requests.",
        503: "The service is busy or stops.",
    }.items()
}
