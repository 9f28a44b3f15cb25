"""Puts the middlewares around an app, in their order."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette

from limbeck.serve.auth import ApiKey
from limbeck.serve.bounded import Bounded
from limbeck.serve.headers import OwnPagesOnly, SecurityHeaders, hosts_of, is_loopback
from limbeck.serve.limits import Concurrency, RateLimit
from limbeck.serve.logs import Logged
from limbeck.serve.metrics import Measured, Metrics

RATE = 50.0


@dataclass(frozen=True)
class Guard:
    """What a service allows.

    Attributes:
        host: the name or address that it listens on.
        allow_hosts: further host names under which it may be asked, such as that of a proxy.
        keys: the API keys; none lets everybody ask.
        body_bytes: the longest body of a request.
        body_seconds: the longest time in which a client sends it.
        seconds: the longest time of an answer.
        pixels: the largest picture that is decoded.
        rate: requests per second of a client address, on average; 0 is no limit. By default there is none
            on loopback, where all clients have one address, and `RATE` elsewhere.
        burst: requests that a client address may make at once after a pause.
        concurrency: requests that are answered at the same time.
        log_queries: whether the log has texts and addresses of queries.
    """

    host: str = "127.0.0.1"
    allow_hosts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    body_bytes: int = 16_000_000
    body_seconds: float = 20
    seconds: float = 30
    pixels: int = 40_000_000
    rate: float | None = None
    burst: int = 300
    concurrency: int = 128
    log_queries: bool = False


def add_guard(app: Starlette, guard: Guard, metrics: Metrics) -> None:
    """Put the middlewares around an app; the last one added is the first that sees a request."""
    app.add_middleware(
        Bounded, body_bytes=guard.body_bytes, body_seconds=guard.body_seconds, seconds=guard.seconds
    )
    app.add_middleware(Concurrency, limit=guard.concurrency)
    app.add_middleware(ApiKey, keys=guard.keys)
    rate = guard.rate if guard.rate is not None else 0 if is_loopback(guard.host) else RATE
    app.add_middleware(RateLimit, rate=rate, burst=guard.burst)  # before the key: it slows guessing
    app.add_middleware(OwnPagesOnly, allowed=hosts_of(guard.host, guard.allow_hosts))
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(Logged, queries=guard.log_queries)
    app.add_middleware(SecurityHeaders)
