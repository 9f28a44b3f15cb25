"""Connections of clients that are slow on purpose end; those of others do not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from live import live

from limbeck.serve import protocol, run

ASK = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def port(pictures: Path) -> Iterator[int]:
    with live([pictures]) as port:
        yield port


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(protocol, "READ_SECONDS", 0.2)


def test_a_connection_waits_from_the_moment_that_the_address_is_told() -> None:
    with run._listen("127.0.0.1", 0, 16) as listener, connected(listener.getsockname()[1]):
        pass


def until_closed(client: socket.socket, dribble: bytes = b"") -> bytes:
    """What comes until the server closes; meanwhile a byte each 20 ms is sent."""
    got = b""
    client.settimeout(0.02 if dribble else 20)
    for _ in range(1000):
        try:
            more = client.recv(65536)
            if not more:
                return got
            got += more
        except TimeoutError:
            client.sendall(dribble)
        except ConnectionError:
            return got
    raise AssertionError("the connection stays open")


def connected(port: int) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", port), 20))


@pytest.mark.parametrize("begin", [b"", b"GET / HT", ASK[:-2]])
def test_a_head_that_does_not_end_is_given_up(port: int, begin: bytes) -> None:
    with connected(port) as client:
        client.sendall(begin)
        assert until_closed(client) == b""


def test_a_dribble_of_headers_is_given_up(port: int) -> None:
    with connected(port) as client:
        client.sendall(ASK[:-2])
        with contextlib.suppress(ConnectionError):
            assert until_closed(client, b"X") == b""


def test_the_second_head_of_a_connection_has_the_same_time(port: int) -> None:
    with connected(port) as client:
        client.sendall(ASK)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET / H")
        assert until_closed(client) == b""


def test_an_endless_body_that_nobody_reads_is_given_up(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"POST /nope HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 404" in until_closed(client, b"1\r\nx\r\n")


def test_requests_that_are_whole_go_on(port: int) -> None:
    with connected(port) as client:
        for _ in range(20):
            client.sendall(ASK)
            answer = client.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")


def test_an_answer_that_is_not_read_is_given_up() -> None:
    import asyncio
    from types import SimpleNamespace

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    async def run() -> list[str]:
        events: list[str] = []
        done = asyncio.Event()

        def abort() -> None:
            events.append("aborted")
            done.set()

        made = protocol.Protocol(Config(app=lambda: None, log_level="critical"), ServerState(), {})
        transport = SimpleNamespace(get_extra_info=lambda name: None, abort=abort, close=lambda: None)
        made.connection_made(transport)  # type: ignore[arg-type]
        made._head.stop()
        made.pause_writing()
        made.resume_writing()
        await asyncio.sleep(0.4)
        events.append("read in time")
        made.pause_writing()
        await done.wait()
        return events

    assert asyncio.run(run()) == ["read in time", "aborted"]
