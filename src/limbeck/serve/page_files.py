"""Serves the page: the files of ``serve/page``, read once, so that no request names a path."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

PAGE = Path(__file__).parent / "page"


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> _File:
        content = path.read_bytes()
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return cls(content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')


def page_routes(folder: Path = PAGE) -> APIRouter:
    """Return the routes ``/`` and ``/page/…`` for the files below a folder."""
    router = APIRouter(include_in_schema=False)
    files = {
        path.relative_to(folder).as_posix(): _File.read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

    def answer(request: Request, name: str) -> Response:
        file = files.get(name)
        if file is None:
            raise HTTPException(404)
        headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return answer(request, "index.html")

    @router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
    async def page(request: Request, name: str) -> Response:
        return answer(request, name)

    return router
