"""Limits on the body of a request, and on the time of its answer."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limbeck.serve.asgi import CLOSE, header, later, send_error

_LINGER_SECONDS, _LINGER_BYTES = 0.5, 1 << 28
_BODIES = 16  # times the longest body: what the bodies of all requests may take together


class Bounded:
    """Bounds the body of a request in bytes and in seconds, and the time until its answer begins.

    A body is counted while it arrives, whatever its ``Content-Length`` says, and not kept if it is too long.
    The bodies of all requests together are bounded as well. Connections of refused bodies are closed.

    Args:
        app: what is protected.
        body_bytes: the longest body.
        body_seconds: how long a client may take to send it.
        seconds: how long the answer may take from then on.
    """

    def __init__(self, app: ASGIApp, body_bytes: int, body_seconds: float, seconds: float) -> None:
        self.app, self.body_bytes, self.body_seconds, self.seconds = app, body_bytes, body_seconds, seconds
        self.free = _BODIES * body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 to a long body, 408 to a slow one, and 503 where the app is too slow."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(self, scope, receive, send)
        declared = header(scope, b"content-length") or b"0"
        if not declared.isdigit() or len(declared) > 18 or int(declared) > self.body_bytes:
            await request.too_long()
            return
        try:
            async with asyncio.timeout(self.seconds) as limit:
                request.limit = limit
                request.extend()
                await self.app(scope, request.receive, request.send)
        except TimeoutError:
            if request.started or not limit.expired():
                raise
            message = f"no answer within {self.seconds:g} seconds; ask for less or later"
            await send_error(scope, send, 503, "E-REQUEST-TIME", message, [later(1), CLOSE])
        except Exception:
            if not request.refused:  # else the app fails for lack of a body, and the client has its answer
                raise
        finally:
            self.free += self.body_bytes - request.left


class _Request:
    """One request of `Bounded`: after a refusal the app sees a disconnected client and cannot answer."""

    def __init__(self, limits: Bounded, scope: Scope, receive: Receive, send: Send) -> None:
        self.limits, self.scope, self._receive, self._send = limits, scope, receive, send
        self.left = limits.body_bytes
        self.until = asyncio.get_running_loop().time() + limits.body_seconds
        self.started = self.refused = False
        length = header(scope, b"content-length") or b"0"
        self.read = length == b"0" and header(scope, b"transfer-encoding") is None  # nothing comes
        self.limit: asyncio.Timeout | None = None

    def extend(self) -> None:
        """Let the time of the answer begin when the body is here."""
        if self.limit is not None and not self.limit.expired():
            begin = asyncio.get_running_loop().time() if self.read else self.until
            self.limit.reschedule(begin + self.limits.seconds)

    async def receive(self) -> Message:
        if self.refused:
            return {"type": "http.disconnect"}
        if self.read:  # only a disconnection can follow
            return await self._receive()
        try:
            async with asyncio.timeout_at(self.until):
                message = await self._receive()
        except TimeoutError:
            message = {"type": "http.disconnect"}
            most = self.limits.body_seconds
            await self._refuse(408, "E-REQUEST-TIME", f"the body took over {most:g} seconds; send it faster")
        size = len(message.get("body", b""))
        self.left -= size
        self.limits.free -= size
        self.read = not message.get("more_body", False)
        if self.left < 0:
            await self.too_long()
        elif size and self.limits.free < 0:
            await self._refuse(503, "E-SERVER-BUSY", "the service reads too many bodies; send it again later")
        if self.refused:
            return {"type": "http.disconnect"}
        if self.read:
            self.extend()
        return message

    async def send(self, message: Message) -> None:
        if not self.refused:
            self.started = True
            await self._send(message)

    async def too_long(self) -> None:
        most = self.limits.body_bytes
        await self._refuse(413, "E-REQUEST-SIZE", f"the body is longer than {most:,} bytes; send less")

    async def _refuse(self, status: int, code: str, message: str) -> None:
        self.refused = True
        if self.started:
            return

        async def lingering(answer: Message) -> None:
            """Discard what still arrives before the end: a reset would destroy the answer on its way."""
            if answer["type"] != "http.response.body" or status == 408:
                await self._send(answer)
                return
            await self._send({**answer, "more_body": True})
            await self._discard()
            await self._send({"type": "http.response.body", "body": b""})

        headers = [CLOSE, later(1)] if status == 503 else [CLOSE]
        await send_error(self.scope, lingering, status, code, message, headers)

    async def _discard(self) -> None:
        left = _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return
