"""Calls ASGI apps as a server would, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

LOCAL = [(b"host", b"localhost")]


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pulled: int = 0  # bytes of the request that the app took

    @property
    def code(self) -> str:
        return json.loads(self.body)["error"]["code"]


def scope_of(
    path: str = "/", method: str = "GET", headers: Iterable[tuple[bytes, bytes]] = LOCAL, **more: Any
):
    return {
        "type": "http", "method": method, "path": path, "query_string": b"", "headers": list(headers),
        "client": ("192.0.2.1", 1), "root_path": "", "state": {},
    } | more  # fmt: skip


async def answer(app: Callable, scope: dict[str, Any], chunks: Iterable[bytes | float] = ()) -> Answer:
    """Return what an app answers; a float among the chunks of the body is a pause in seconds."""
    got = Answer()

    async def body() -> AsyncIterator[dict[str, Any]]:
        for chunk in chunks:
            if isinstance(chunk, float):
                await asyncio.sleep(chunk)
                continue
            got.pulled += len(chunk)
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    arriving = body()

    async def receive() -> dict[str, Any]:
        async for message in arriving:
            return message
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert not got.status, "answered twice"
            got.status = message["status"]
            got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        got.body += message.get("body", b"")

    await app(scope, receive, send)
    return got


def ask(app: Callable, path: str = "/", chunks: Iterable[bytes | float] = (), **scope: Any) -> Answer:
    return asyncio.run(answer(app, scope_of(path, **scope), chunks))


async def echo(scope: dict[str, Any], receive: Callable, send: Callable) -> None:
    """Answer with the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client is gone")
        length += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})
