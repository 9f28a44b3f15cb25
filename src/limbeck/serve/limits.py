"""Limits on how often a client asks, and on how many requests run at a time."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from limbeck.serve.asgi import later, route_path, send_error
from limbeck.serve.auth import OPEN

_CLIENTS = 10_000  # addresses remembered; the one that asked longest ago is forgotten first


class RateLimit:
    """Lets each client address make ``rate`` requests per second on average, and ``burst`` at once.

    Args:
        app: what is protected.
        rate: requests per second; 0 is no limit.
        burst: requests that a client may make at once after a pause.
        clock: returns seconds.
    """

    def __init__(
        self, app: ASGIApp, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app, self.rate, self.burst, self._clock = app, rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address: tokens, at this time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 429 to a client that asks too often."""
        if scope["type"] == "http" and self.rate and route_path(scope) not in OPEN:
            wait = self._take(_network(scope))
            if wait:
                message = "too many requests; send fewer per second"
                await send_error(scope, send, 429, "E-REQUEST-RATE", message, [later(wait)])
                return
        await self.app(scope, receive, send)

    def _take(self, client: str) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        now = self._clock()
        tokens, since = self._buckets.pop(client, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - since) * self.rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self.rate
        self._buckets[client] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return wait


class Concurrency:
    """Answers at most ``limit`` requests at a time; the others get 503 at once, not a place in a queue."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit, self.running = app, limit, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503 to a request above the limit."""
        if scope["type"] != "http" or route_path(scope) in OPEN:
            await self.app(scope, receive, send)
            return
        if self.running >= self.limit:
            message = "the service is busy; ask again"
            await send_error(scope, send, 503, "E-SERVER-BUSY", message, [later(1)])
            return
        self.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running -= 1


def _network(scope: Scope) -> str:
    """Return a client's address; for an IPv6 address its /64 network, which one client has for itself."""
    client = scope.get("client")
    if client is None:
        return ""
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return str(client[0])[:64]
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
