"""The log: one JSON line per request, without its texts and pictures, and one per unexpected error."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limbeck.serve.asgi import CLOSE, request_id, send_error
from limbeck.serve.metrics import route_of

LOG = logging.getLogger("limbeck.serve")


def log_to_stderr() -> None:
    """Write the lines of `LOG` to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


class Logged:
    """Logs each request by its route, and answers 500 with its id where the app fails.

    Args:
        app: what is logged.
        queries: log the address and query as well, and the messages of faults, which may quote them.
    """

    def __init__(self, app: ASGIApp, queries: bool = False) -> None:
        self.app, self.queries = app, queries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, sent, received = 0, 0, 0

        async def reading() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def writing(message: Message) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        begin, fault = time.perf_counter(), None
        try:
            await self.app(scope, reading, writing)
        except Exception as error:
            fault = error
            if status:
                raise  # the server ends the connection, so that the client sees that the answer is not whole
            message = "the service failed; report this with the id of the request"
            await send_error(scope, writing, 500, "E-BUG", message, [CLOSE])
        finally:
            line = self._line(scope, status, fault)
            line |= {"ms": round((time.perf_counter() - begin) * 1000, 2), "in": received, "out": sent}
            LOG.log(logging.ERROR if fault else logging.INFO, "%s", json.dumps(line))

    def _line(self, scope: Scope, status: int, fault: Exception | None) -> dict[str, object]:
        client = scope.get("client")
        line: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": request_id(scope),
            "client": client[0] if client else None,
            "method": scope["method"],
            "route": route_of(scope),
            "status": status or None,
        }
        if self.queries:
            line["path"] = scope["path"]
            line["query"] = scope["state"].get("query") or scope["query_string"].decode("latin-1")
        if fault is not None:
            line["fault"] = type(fault).__name__
            line["trace"] = [f"{at.filename}:{at.lineno}" for at in traceback.extract_tb(fault.__traceback__)]
            if self.queries:
                line["message"] = str(fault)
        return line
