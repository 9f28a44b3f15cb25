"""Headers that keep a browser safe, and the checks that keep foreign pages from using the service."""

from __future__ import annotations

import ipaddress
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limbeck.serve.asgi import header, request_id, send_error

CSP = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "font-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
_ALWAYS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
# What no cache may keep is the default: answers hold a private collection.
_CACHE = (b"cache-control", b"no-store")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::[0-9]{1,5})?")


class SecurityHeaders:
    """Adds the headers, and the id of the request, to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does, with these headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        own = (*_ALWAYS, _CACHE, (b"x-request-id", request_id(scope).encode()))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message["headers"] = given + [pair for pair in own if pair[0] not in names]
            await send(message)

        await self.app(scope, receive, with_headers)


class OwnPagesOnly:
    """Refuses requests that a foreign web page makes a browser send.

    A page whose name is re-bound to the address of this service sends its own name as ``Host``: only names
    in ``allowed`` pass. A page of another site that addresses the service directly is told by
    ``Sec-Fetch-Site``: it may link to the service, but not read from it or send to it.

    Args:
        app: what is protected.
        allowed: lower-case host names and addresses, without ports; None allows all well-formed ones.
    """

    def __init__(self, app: ASGIApp, allowed: frozenset[str] | None) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 or 421 to a wrong host, and 403 to a foreign page."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = _host(scope)
        if host is None:
            await send_error(scope, send, 400, "E-REQUEST-HOST", "Host: not one host name; send one")
        elif self.allowed is not None and host not in self.allowed:
            message = f"Host: {host!r} is not a name of this service; allow it with --allow-host"
            await send_error(scope, send, 421, "E-REQUEST-HOST", message)
        elif _foreign(scope):
            message = "a page of another site may not use this service; open the service's own page"
            await send_error(scope, send, 403, "E-REQUEST-ORIGIN", message)
        else:
            await self.app(scope, receive, send)


def hosts_of(bound: str, more: tuple[str, ...]) -> frozenset[str] | None:
    """Return the names under which a service may be asked; None if any, because it listens on all addresses.

    Args:
        bound: the name or address that the service listens on.
        more: names that the operator allows besides.
    """
    named = {name.lower().strip("[]") for name in more}
    if bound in ("0.0.0.0", "::", ""):
        return frozenset(named | _LOOPBACK) if named else None
    return frozenset(named | _LOOPBACK | {bound.lower()})


def is_loopback(bound: str) -> bool:
    """Return whether a name or address is reached from this machine only."""
    try:
        return ipaddress.ip_address(bound).is_loopback
    except ValueError:
        return bound.lower() == "localhost"


def _host(scope: Scope) -> str | None:
    """Return the lower-case host without its port; None unless there is exactly one and it is well-formed."""
    given = [value for name, value in scope["headers"] if name == b"host"]
    matched = _HOST.fullmatch(given[0].decode("latin-1").lower()) if len(given) == 1 else None
    return matched[1].strip("[]").removesuffix(".") if matched else None


def _foreign(scope: Scope) -> bool:
    if header(scope, b"sec-fetch-site") != b"cross-site":
        return False
    return not (scope["method"] in ("GET", "HEAD") and header(scope, b"sec-fetch-mode") == b"navigate")
