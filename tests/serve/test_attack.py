"""Hostile requests over a real socket: each is refused, and the service lives on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from live import live

from attack.requests import LONG, Attack, attacks, encoded, head, upload
from attack.serve import ask, status
from limbeck.search import Term
from limbeck.serve.guard import Guard
from limbeck.serve.query import query_of
from limbeck.serve.schemas import MAX_K, SearchBody

ATTACKS = attacks()
GUARD = Guard(body_seconds=0.3)


@pytest.fixture(scope="module")
def port(pictures: Path) -> Iterator[int]:
    with live([pictures], GUARD) as port:
        yield port


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_request_is_refused(port: int, pictures: Path, attack: Attack) -> None:
    answer, _ = ask(port, attack.parts())
    assert status(answer) in attack.expected
    assert str(pictures.parent).encode() not in answer
    assert b"Traceback" not in answer


def test_a_picture_is_still_found(port: int) -> None:
    answer, _ = ask(port, upload("", encoded("JPEG"), "image/jpeg").parts())
    assert status(answer) == 200


def test_a_radius_does_not_give_the_whole_index() -> None:
    given = SearchBody(radius=1e9)
    assert query_of([Term("red")], given).options.k == MAX_K
    assert query_of([Term("red")], given.model_copy(update={"k": 7})).options.k == 7


def test_clients_that_dribble_do_not_keep_others_out(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), 20)))
            client.sendall(b"GET /search?q=red HTTP/1.1\r\nX: ")
        assert status(ask(port, iter((head("GET", "/search?q=red"),)))[0]) == 200


def test_the_attacks_are_many_and_differ() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) > 100
    assert 2 * GUARD.body_bytes < LONG
