"""Routes that show what a collection holds: ``/examples``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from limbeck.serve.answering import fast_json
from limbeck.serve.schemas import FAULTS, HitBody
from limbeck.serve.service import Service


class ExamplesAnswer(BaseModel):
    """Is what a first page shows."""

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
        """Return texts and items of the collection, the same ones until it changes."""
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

    return router
