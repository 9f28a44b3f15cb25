"""Routes that show what a collection holds: ``/facets`` and ``/examples``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from limbeck.serve.answering import fast_json
from limbeck.serve.schemas import FAULTS, HitBody
from limbeck.serve.service import Service


class FacetValue(BaseModel):
    """A value of a column, and how many items have it."""

    value: str | bool = Field(examples=["sky"])
    count: int = Field(examples=[200])
    where: str = Field(description="The filter for these items.", examples=["`labels` has 'sky'"])


class FacetColumn(BaseModel):
    """Holds the most frequent values of a column."""

    name: str = Field(examples=["labels"])
    list: bool = Field(description="Whether an item may have several values.")
    distinct: int = Field(description="The number of different values.")
    values: Sequence[FacetValue]


class FacetsAnswer(BaseModel):
    """The columns and values by which a search can be filtered."""

    index: str
    generation: int
    columns: list[FacetColumn]


class ExamplesAnswer(BaseModel):
    """The texts and items that a first page shows."""

    index: str
    generation: int
    texts: list[str]
    items: list[HitBody]


def collection_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter(tags=["collection"], responses=FAULTS)

    @router.get("/examples", responses={200: {"model": ExamplesAnswer}})
    async def examples(
        index: str | None = None,
        texts: Annotated[int, Query(ge=0, le=50)] = 6,
        items: Annotated[int, Query(ge=0, le=100)] = 12,
    ) -> Response:
        """Return texts and items of the collection; they stay the same until it changes."""
        opened = service.at(index).current

        def draw() -> str:
            return fast_json(
                {
                    "index": opened.name,
                    "generation": opened.generation,
                    "texts": opened.texts.examples(texts),
                    "items": [
                        {"score": None, "confidence": None, "alike": [], **item}
                        for item in opened.items(opened.texts.rows(items))
                    ],
                }
            )

        return Response(await service.aside(draw), media_type="application/json")

    @router.get("/facets", responses={200: {"model": FacetsAnswer}})
    async def facets(
        index: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Values per column.")] = 20,
        where: Annotated[str | None, Query(max_length=4000, description="Count only these items.")] = None,
    ) -> Response:
        """Return the most frequent values of the columns that can be filtered."""
        opened = service.at(index).current

        def count() -> str:
            from limbeck.index.facets import facets  # with pyarrow.compute, which is slow to import

            return fast_json(
                {
                    "index": opened.name,
                    "generation": opened.generation,
                    "columns": [
                        {
                            "name": one.column,
                            "list": one.is_list,
                            "distinct": one.distinct,
                            "values": [
                                {"value": value, "count": number, "where": one.where(value)}
                                for value, number in one.values
                            ],
                        }
                        for one in facets(opened.index.store, limit, where)
                    ],
                }
            )

        return Response(await service.aside(count), media_type="application/json")

    return router
