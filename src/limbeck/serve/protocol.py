"""uvicorn's HTTP/1.1 with the time-outs that it lacks, and one packet per answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
READ_SECONDS = 30.0


class Protocol(H11Protocol):
    """Ends a connection whose client sends the head of a request too slowly, or does not read its answer.

    Otherwise such clients would hold connections, and the answers in them, for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the head of a request."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]
        self._head = _Alarm(self.loop, HEAD_SECONDS, transport.abort)
        self._unread = _Alarm(self.loop, READ_SECONDS, transport.abort)
        self._head.start()

    def data_received(self, data: bytes) -> None:
        """Read the data, and keep waiting if they do not complete a head."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._head.start()
        else:
            self._head.stop()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread.start()

    def resume_writing(self) -> None:
        """Stop waiting: the client reads."""
        super().resume_writing()
        self._unread.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._head.stop()
        self._unread.stop()
        super().connection_lost(exc)


class _Joined:
    """A transport that sends in one packet what is written in one step of the loop: the head and the body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Alarm:
    """Calls ``ring`` some seconds after its start, unless it is stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, ring: Callable[[], None]) -> None:
        self._loop, self._seconds, self._ring = loop, seconds, ring
        self._set: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._set is None:
            self._set = self._loop.call_later(self._seconds, self._ring)

    def stop(self) -> None:
        if self._set is not None:
            self._set.cancel()
            self._set = None
