"""Routes that search: ``/search``, ``/similar`` and ``/items``."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from pydantic.json_schema import JsonSchemaValue
from starlette.datastructures import UploadFile
from starlette.responses import Response

from limbeck.errors import LimbeckError
from limbeck.search import Term
from limbeck.serve.params import checked, described, parsed
from limbeck.serve.query import Query, from_body, from_params, query_of
from limbeck.serve.schemas import (
    FAULTS,
    MAX_TERMS,
    HitBody,
    ItemId,
    Options,
    SearchAnswer,
    SearchBody,
    SearchParams,
)
from limbeck.serve.service import Service
from limbeck.typed import Json

_EXAMPLE: dict[str, Json] = {
    "index": "pictures",
    "generation": 3,
    "score_name": "distance",
    "engine": "exact",
    "query": "a beach − people",
    "hits": [
        {
            "id": "2018/beach.jpg",
            "score": 7,
            "confidence": 0.93,
            "alike": ["2018/beach-copy.jpg"],
            "metadata": {"path": "2018/beach.jpg", "labels": ["sea", "sky"]},
            "thumbnail": "/thumbnails/2018%2Fbeach.jpg?index=pictures",
            "picture": "/pictures/2018%2Fbeach.jpg?index=pictures",
        }
    ],
    "ms": 4.2,
}
_BODY: dict[str, Json] = {
    "terms": [{"text": "a beach"}, {"text": "people", "weight": -1}],
    "k": 20,
    "where": "labels has sky",
}
_ANSWER: dict[int | str, dict[str, object]] = {
    200: {"model": SearchAnswer, "content": {"application/json": {"example": _EXAMPLE}}}
}


def _inlined(model: type[SearchBody]) -> JsonSchemaValue:
    """Return the JSON schema of a model without references."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def put(value: object) -> object:
        if isinstance(value, dict):
            reference = value.get("$ref")
            return put(parts[reference.rpartition("/")[2]]) if reference else fill(value)
        return [put(one) for one in value] if isinstance(value, list) else value

    def fill(mapping: JsonSchemaValue) -> JsonSchemaValue:
        return {name: put(value) for name, value in mapping.items()}

    return fill(schema)


_REQUEST = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _inlined(SearchBody), "example": _BODY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "request": {"type": "string", "description": "The JSON of the other form."},
                        "image": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "Picture files; each is a further term of weight 1.",
                        },
                    },
                }
            },
        },
    }
}


def search_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter(tags=["search"], responses=FAULTS)

    async def answered(request: Request, index: str | None, query: Query, started: float) -> Response:
        request.state.query = query.words
        found = await service.ask(index, query)
        ms = (time.perf_counter() - started) * 1000
        return Response(found + b', "ms": %.2f}' % ms, media_type="application/json")

    @router.get("/search", responses=_ANSWER, openapi_extra=described(SearchParams))
    async def search(request: Request) -> Response:
        """Return the items nearest to texts and items; parameters may repeat."""
        started = time.perf_counter()
        params = parsed(SearchParams, request)
        return await answered(request, params.index, from_params(params), started)

    @router.post("/search", responses=_ANSWER, openapi_extra=_REQUEST)
    async def search_by_body(request: Request) -> Response:
        """Return the items nearest to a weighted sum of texts, pictures and items."""
        started = time.perf_counter()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            async with request.form(max_files=MAX_TERMS, max_fields=1) as form:
                sent = form.get("request", "{}")
                body = checked(SearchBody, sent.encode() if isinstance(sent, str) else await sent.read())
                sent_files = [one for one in form.getlist("image") if isinstance(one, UploadFile)]
                files = [(await one.read(), one.content_type) for one in sent_files]
        elif kind == "application/json":
            body, files = checked(SearchBody, await request.body()), []
        else:
            raise LimbeckError("body: send application/json or multipart/form-data", code="E-REQUEST-TYPE")
        pixels = service.settings.guard.pixels
        if not files and all(term.image is None for term in body.terms):
            return await answered(request, body.index, from_body(body, files, pixels=pixels), started)
        async with service.pictures:
            query = await service.aside(lambda: from_body(body, files, pixels=pixels))
            return await answered(request, body.index, query, started)

    @router.get("/similar/{id:path}", responses=_ANSWER, openapi_extra=described(Options))
    async def similar(request: Request, id: ItemId) -> Response:
        """Return the items nearest to an item of the index, without the item itself."""
        started = time.perf_counter()
        options = parsed(Options, request)
        return await answered(request, options.index, query_of([Term(id=id)], options), started)

    @router.get("/items/{id:path}", responses={200: {"model": HitBody}})
    async def item(id: ItemId, index: str | None = None) -> Response:
        """Return an item of the index with its metadata."""
        served = service.at(index)
        return Response(await service.run(lambda: served.current.item(id)), media_type="application/json")

    return router
