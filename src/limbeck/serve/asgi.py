"""What the middlewares share: headers, the id of a request, and the one form of an error."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Iterable

from starlette.types import Scope, Send

Headers = Iterable[tuple[bytes, bytes]]
CLOSE = (b"connection", b"close")
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of a lower-case name; None if the request has none."""
    return next((value for key, value in scope["headers"] if key == name), None)


def route_path(scope: Scope) -> str:
    """Return the path of a request below the prefix under which a proxy offers the service."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def request_id(scope: Scope) -> str:
    """Return the id of a request: its ``X-Request-ID`` if that is 1–64 of ``A-Za-z0-9._-``, or a new one."""
    state: dict[str, str] = scope.setdefault("state", {})
    if "request_id" not in state:
        given = header(scope, b"x-request-id") or b""
        state["request_id"] = given.decode() if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
    return state["request_id"]


def later(seconds: float) -> tuple[bytes, bytes]:
    """Return the header that says when to ask again."""
    return b"retry-after", str(max(1, math.ceil(seconds))).encode()


def error_body(scope: Scope, code: str, message: str) -> bytes:
    """Return the JSON of an error: its code, one line, and the id of the request."""
    error = {"code": code, "message": message, "correlation_id": request_id(scope)}
    return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")


async def send_error(
    scope: Scope, send: Send, status: int, code: str, message: str, headers: Headers = ()
) -> None:
    """Answer a request with an error."""
    body = error_body(scope, code, message)
    plain = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *headers]})
    await send({"type": "http.response.body", "body": body})
