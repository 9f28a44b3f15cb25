"""Rates, requests at a time, and the bounds of one request."""

from __future__ import annotations

import asyncio

import pytest
from asgi_call import LOCAL, answer, ask, echo, scope_of

from limbeck.serve import limits
from limbeck.serve.bounded import Bounded
from limbeck.serve.limits import Concurrency, RateLimit

CHUNKED = [*LOCAL, (b"transfer-encoding", b"chunked")]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_client_has_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    app = RateLimit(echo, rate=2, burst=3, clock=clock)
    assert [ask(app).status for _ in range(5)] == [200, 200, 200, 429, 429]
    assert ask(app, client=("192.0.2.2", 9)).status == 200  # another one is not concerned
    got = ask(app)
    assert (got.code, got.headers["retry-after"]) == ("E-REQUEST-RATE", "1")
    clock.now = 1.0
    assert [ask(app).status for _ in range(3)] == [200, 200, 429]
    clock.now = 100.0
    assert [ask(app).status for _ in range(4)] == [200, 200, 200, 429]


def test_refused_requests_cost_no_tokens() -> None:
    clock = Clock()
    app = RateLimit(echo, rate=0.1, burst=1, clock=clock)
    assert [ask(app).status for _ in range(9)] == [200] + 8 * [429]
    assert ask(app).headers["retry-after"] == "10"
    clock.now = 10.0
    assert ask(app).status == 200


def test_a_client_of_ipv6_has_one_network() -> None:
    app = RateLimit(echo, rate=1, burst=1, clock=Clock())
    hosts = ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1", "not an address")
    assert [ask(app, client=(host, 1)).status for host in hosts] == [200, 429, 200, 200]


def test_probes_and_no_rate_are_free() -> None:
    app = RateLimit(echo, rate=1, burst=1, clock=Clock())
    assert {ask(app, "/health").status for _ in range(5)} == {200}
    assert {ask(RateLimit(echo, 0, 1)).status for _ in range(5)} == {200}


def test_the_memory_of_clients_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(limits, "_CLIENTS", 5)
    app = RateLimit(echo, rate=1, burst=1, clock=Clock())
    for at in range(50):
        assert ask(app, client=(f"192.0.2.{at}", 1)).status == 200
    assert len(app._buckets) == 5
    assert ask(app, client=("192.0.2.49", 1)).status == 429


def test_requests_above_the_limit_are_503_at_once() -> None:
    async def run() -> list[int]:
        go = asyncio.Event()

        async def waiting(scope, receive, send) -> None:
            await go.wait()
            await echo(scope, receive, send)

        app = Concurrency(waiting, limit=2)
        running = [asyncio.create_task(answer(app, scope_of())) for _ in range(2)]
        await asyncio.sleep(0)
        third = await answer(app, scope_of())
        assert (third.code, third.headers["retry-after"]) == ("E-SERVER-BUSY", "1")
        go.set()
        done = [(await task).status for task in running]
        return [*done, third.status, (await answer(app, scope_of())).status]

    assert asyncio.run(run()) == [200, 200, 503, 200]


def test_a_failed_request_frees_its_place() -> None:
    async def failing(scope, receive, send) -> None:
        raise RuntimeError

    app = Concurrency(failing, limit=1)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            ask(app)


def bounded(**more: float) -> Bounded:
    settings: dict[str, float] = {"body_bytes": 10, "body_seconds": 5, "seconds": 5} | more
    return Bounded(echo, **settings)  # type: ignore[arg-type]


def test_bodies_up_to_the_limit_pass() -> None:
    for chunks in ([], [b"x" * 10], [b"x" * 5, b"", b"y" * 5]):
        got = ask(bounded(), chunks=chunks, headers=CHUNKED)
        assert (got.status, int(got.body)) == (200, sum(map(len, chunks)))


def test_a_declared_body_is_refused_before_the_app_runs() -> None:
    for length in (b"11", b"1" * 30, b"-1", b"1x", "²".encode()):
        got = ask(bounded(), headers=[*LOCAL, (b"content-length", length)])
        assert (got.status, got.code, got.headers["connection"]) == (413, "E-REQUEST-SIZE", "close")


def test_a_body_is_counted_whatever_it_declares() -> None:
    got = ask(bounded(), chunks=[b"x"] * 11, headers=CHUNKED)
    assert (got.status, got.code) == (413, "E-REQUEST-SIZE")
    assert ask(bounded(), chunks=[b"x" * 99], headers=[*LOCAL, (b"content-length", b"5")]).status == 413


def test_the_rest_of_a_long_body_is_discarded_up_to_a_bound(monkeypatch) -> None:
    monkeypatch.setattr("limbeck.serve.bounded._LINGER_BYTES", 1000)
    got = ask(bounded(), chunks=(b"x" * 100 for _ in range(10_000)), headers=CHUNKED)
    assert got.status == 413 and got.pulled <= 1200


def test_the_bodies_of_all_requests_are_bounded() -> None:
    async def run() -> list[int]:
        app = bounded()  # 16 bodies of 10 bytes
        slow = [
            asyncio.create_task(answer(app, scope_of(headers=CHUNKED), [b"x" * 10, 0.2])) for _ in range(17)
        ]
        done = [(await task).status for task in slow]
        assert app.free == 160
        return [*done, (await answer(app, scope_of(headers=CHUNKED), [b"x" * 10])).status]

    assert sorted(asyncio.run(run())) == 17 * [200] + [503]


def test_a_slow_body_is_408() -> None:
    got = ask(bounded(body_seconds=0.05), chunks=[b"x", 5.0, b"y"], headers=CHUNKED)
    assert (got.status, got.code, got.headers["connection"]) == (408, "E-REQUEST-TIME", "close")


def test_a_dribble_does_not_extend_the_time() -> None:
    chunks = [chunk for _ in range(9) for chunk in (b"x", 0.02)]
    assert ask(bounded(body_seconds=0.05), chunks=chunks, headers=CHUNKED).status == 408


def test_a_slow_answer_is_503() -> None:
    async def slow(scope, receive, send) -> None:
        await asyncio.sleep(5)

    got = ask(Bounded(slow, 10, 5, seconds=0.05))
    assert (got.status, got.code, got.headers["retry-after"]) == (503, "E-REQUEST-TIME", "1")


def test_the_time_of_the_body_is_not_that_of_the_answer() -> None:
    got = ask(bounded(body_seconds=1, seconds=0.1), chunks=[b"x", 0.2, b"y"], headers=CHUNKED)
    assert (got.status, got.body) == (200, b"2")


def test_a_time_out_of_the_app_itself_is_its_fault() -> None:
    async def failing(scope, receive, send) -> None:
        raise TimeoutError("of something else")

    with pytest.raises(TimeoutError, match="something else"):
        ask(Bounded(failing, 10, 5, 5))
