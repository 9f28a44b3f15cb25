"""Hostile requests over a real socket: each is refused, and the service lives on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live import live

from attack.requests import LONG, Attack, attacks, encoded, upload
from attack.serve import ask, status
from limbeck.serve.guard import Guard

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


def test_the_attacks_are_many_and_differ() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) > 100
    assert 2 * GUARD.body_bytes < LONG
