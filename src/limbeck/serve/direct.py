"""Answers ``GET /search`` without FastAPI's layers, which take longer than the search of a small index.

FastAPI still describes the address: the endpoint is that of its route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


class _Endpoint:
    def __init__(self, route: APIRoute) -> None:
        self._route = route
        self._answer: Callable[[Request], Awaitable[Response]] = route.endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self._route  # as FastAPI does, for the log and the metrics
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)


def direct(route: APIRoute) -> Route:
    """Return a route with the path and methods of a given one, whose endpoint takes only the request."""
    found = Route(route.path, _Endpoint(route), methods=route.methods)
    found.methods = set(route.methods or ())  # Starlette adds HEAD
    return found
