"""Routes along the hierarchy of an index whose space has cones: ``/traverse`` and ``/hierarchy``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from limbeck.errors import LimbeckError
from limbeck.search import Term
from limbeck.serve.answering import fast_json
from limbeck.serve.hierarchy import disk, traversal
from limbeck.serve.params import described, parsed
from limbeck.serve.schemas import FAULTS
from limbeck.serve.service import Service
from limbeck.traversal import STEPS


class _Start(BaseModel):
    """Names the start: a text or an item."""

    model_config = ConfigDict(extra="forbid")

    q: str | None = Field(None, description="A text.", examples=["a dog in the snow"])
    like: str | None = Field(None, description="The id of an item; give either q or like.")
    index: str | None = Field(None, description="The name of the index; by default the first one.")

    @property
    def term(self) -> Term:
        if (self.q is None) == (self.like is None):
            raise LimbeckError("query: give exactly one of q and like", code="E-QUERY-FORM")
        return Term(self.q, id=self.like)


class TraverseParams(_Start):
    """Holds the query parameters of ``GET /traverse``."""

    steps: int = Field(STEPS, ge=2, le=500, description="The number of points on the way.")


class HierarchyParams(_Start):
    """Holds the query parameters of ``GET /hierarchy``."""

    k: int = Field(24, ge=1, le=200, description="The number of items.")
    texts: int = Field(12, ge=0, le=100, description="The number of texts.")


class StepBody(BaseModel):
    """One step of a traversal."""

    share: float = Field(description="0 at the query, 1 at the root.")
    text: str = Field(description="The nearest text that entails this point, or [ROOT].")
    number: int | None
    radius: float = Field(description="The distance of the text from the root.")
    distance: float = Field(description="The distance of the text from this point.")
    inside: float | None = Field(description="Radians by which this point is inside the cone of the text.")
    entailing: int = Field(description="How many texts entail this point.")


class TraverseAnswer(BaseModel):
    """The path from a query to the root."""

    index: str
    generation: int
    radius: float
    steps: list[StepBody]
    chain: list[StepBody] = Field(description="The first step at each text.")
    texts: int = Field(description="The number of candidates.")
    nearest_cone: str
    nearest_inside: float
    unknown: list[str]
    entailed: bool


class Spot(BaseModel):
    """A point on the Poincaré disk."""

    kind: str = Field(description="root, query, item or text")
    id: str | None = None
    text: str | None = None
    thumbnail: str | None = None
    x: float
    y: float
    radius: float = Field(description="The distance from the root.")
    entails: bool = Field(description="Whether the cone of this point contains the query.")
    entailed: bool = Field(description="Whether the cone of the query contains this point.")


class HierarchyAnswer(BaseModel):
    """The neighbours of a query on the Poincaré disk."""

    index: str
    generation: int
    curv: float
    points: list[Spot]


def hierarchy_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter(tags=["hierarchy"], responses=FAULTS)

    def json(value: dict[str, object]) -> Response:
        return Response(fast_json(value), media_type="application/json")

    @router.get(
        "/traverse", responses={200: {"model": TraverseAnswer}}, openapi_extra=described(TraverseParams)
    )
    async def traverse(request: Request) -> Response:
        """Return the texts on the way from a text or an item to the root."""
        asked = parsed(TraverseParams, request)
        opened, term = service.at(asked.index).current, asked.term
        return json(await service.aside(lambda: traversal(opened, term, asked.steps)))

    @router.get(
        "/hierarchy", responses={200: {"model": HierarchyAnswer}}, openapi_extra=described(HierarchyParams)
    )
    async def hierarchy(request: Request) -> Response:
        """Return the items and texts nearest to a text or an item, on the Poincaré disk."""
        asked = parsed(HierarchyParams, request)
        opened, term = service.at(asked.index).current, asked.term
        return json(await service.aside(lambda: disk(opened, term, asked.k, asked.texts)))

    return router
