"""Gives every request an identifier, which its answer and its log lines carry."""

from __future__ import annotations

import os
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_KEY = "limbeck.request_id"


class RequestIds:
    """ASGI middleware that takes the header ``X-Request-ID`` if it is sane, or else makes an identifier."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        identifier = given if _SANE.fullmatch(given) else os.urandom(8).hex().encode()
        scope[_KEY] = identifier.decode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, identifier)]
            await send(message)

        await self.app(scope, receive, send_with_id)


def request_id(scope: Scope) -> str:
    """Return the identifier of a request."""
    return str(scope[_KEY])
