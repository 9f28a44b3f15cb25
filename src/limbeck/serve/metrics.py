"""What Prometheus reads at /metrics: requests, times, batches, cache and indexes."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "HEAD", "POST"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The measured values of one service. Labels are route templates and index names, never user input."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "limbeck_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "limbeck_request_seconds", "Time of an answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.running = Gauge("limbeck_requests_in_flight", "Requests being answered.", registry=registry)
        # To find the values of some labels takes longer than to change them.
        self._answered = functools.cache(self._of_answers)
        self._batches = Histogram(
            "limbeck_batch_queries", "Queries encoded together.", buckets=_SIZES, registry=registry
        )
        self._stages = Counter(
            "limbeck_search_seconds", "Time of the search thread.", ["stage"], registry=registry
        )
        self._cache = Counter("limbeck_cache_lookups", "Look-ups of a query.", ["result"], registry=registry)
        self._items = Gauge("limbeck_index_items", "Items of an index.", ["index"], registry=registry)
        self._generation = Gauge(
            "limbeck_index_generation", "State of an index that is served.", ["index"], registry=registry
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        counted, timed = self._answered(method, route, status)
        counted.inc()
        timed.observe(seconds)

    def batch(self, size: int) -> None:
        """Count a batch of ``size`` queries."""
        self._batches.observe(size)

    def _of_answers(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        return self.requests.labels(method, route, str(status)), self.seconds.labels(route)

    def stage(self, name: str, seconds: float) -> None:
        """Add time that the search thread spent on "encode", "search" or "rows"."""
        self._stages.labels(name).inc(seconds)

    def cached(self, hit: bool) -> None:
        """Count a look-up in the cache of encoded queries."""
        self._cache.labels("hit" if hit else "miss").inc()

    def text(self, indexes: Iterable[tuple[str, int, int]]) -> bytes:
        """Return all values in Prometheus' text form, with (name, items, generation) of the indexes."""
        self._items.clear()
        self._generation.clear()
        for name, items, generation in indexes:
            self._items.labels(name).set(items)
            self._generation.labels(name).set(generation)
        return generate_latest(self._registry)


class Measured:
    """Counts the requests of an app by route template and status, and measures their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begin = time.perf_counter()
        self.metrics.running.inc()
        try:
            await self.app(scope, receive, seen)
        finally:
            self.metrics.running.dec()
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.metrics.answered(method, route_of(scope), status, time.perf_counter() - begin)


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request matched, such as ``/items/{id:path}``, or "none"."""
    return str(getattr(scope.get("route"), "path", "none"))
