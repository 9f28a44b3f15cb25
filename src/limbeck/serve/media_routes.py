"""Routes of pictures: ``/thumbnails`` and ``/pictures``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from limbeck.serve.media import FULL, MEDIA_TYPE, encoded, etag_of, source_of
from limbeck.serve.schemas import FAULTS, ItemId
from limbeck.serve.service import Service

_PICTURE: dict[int | str, dict[str, object]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


def media_routes(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter(tags=["pictures"], responses=FAULTS)

    async def picture_of(request: Request, item_id: ItemId, index: str | None, size: int) -> Response:
        opened = service.at(index).current
        seen = request.headers.get("if-none-match")

        def make() -> tuple[str, bytes | None]:
            source = source_of(opened, item_id)
            etag = etag_of(opened, source, size)
            if etag == seen:
                return etag, None
            found = service.thumbnails.get(etag)
            if found is None:
                found = encoded(source, size)
                service.thumbnails.put(etag, found)
            return etag, found

        etag, content = await service.aside(make)
        headers = {"ETag": etag, "Cache-Control": "private, max-age=3600"}
        if content is None:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=MEDIA_TYPE, headers=headers)

    @router.get("/thumbnails/{id:path}", responses=_PICTURE, response_class=Response)
    async def thumbnail(
        request: Request,
        id: ItemId,
        index: str | None = None,
        size: Annotated[int, Query(ge=16, le=1024, description="Pixels of the longer side.")] = 256,
    ) -> Response:
        """Return the picture of an item, small."""
        return await picture_of(request, id, index, size)

    @router.get("/pictures/{id:path}", responses=_PICTURE, response_class=Response)
    async def picture(request: Request, id: ItemId, index: str | None = None) -> Response:
        """Return the picture of an item, at most 1,600 pixels long and without its metadata."""
        return await picture_of(request, id, index, FULL)

    return router
