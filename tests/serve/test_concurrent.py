"""Many requests at once, new generations under load, and the end under load."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

import limbeck
from limbeck.search import Term
from limbeck.search.calibrate import calibrate
from limbeck.serve.app import create_app
from limbeck.serve.service import Service
from limbeck.serve.settings import Settings
from tiny_encoder import pixel_encoder, write_pictures

WORDS = ["red", "green", "blue", "dark"]


@asynccontextmanager
async def asking(*indexes: Path, **settings: object) -> AsyncIterator[tuple[httpx.AsyncClient, Service]]:
    app = create_app(indexes, Settings(**settings))  # type: ignore[arg-type]
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client, app.state.service


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An index of codes and one of vectors, which keep the pictures' numbers in different spaces."""
    root = tmp_path_factory.mktemp("two")
    write_pictures(root / "media", range(20))
    for name, bits in (("codes", 16), ("vectors", None)):
        limbeck.Index.build(root / name, root / "media", model=pixel_encoder(bits=bits))
    return root / "codes", root / "vectors"


def test_two_hundred_mixed_queries_at_once_get_the_hits_of_the_index(two: tuple[Path, Path]):
    indexes = {path.name: limbeck.Index.open(path) for path in two}
    draw = np.random.default_rng(0)
    asked: list[tuple[dict, list[Term]]] = []
    for number in range(200):
        texts = draw.choice(WORDS, draw.integers(0, 3), replace=False).tolist()
        like = [f"{draw.integers(20):04}.png"] if number % 3 == 0 or not texts else []
        away = draw.choice(["white noise", *WORDS], 1).tolist() if number % 5 == 0 else []
        terms = [Term(text) for text in texts] + [Term(id=one) for one in like]
        terms += [Term(text, weight=-1.0) for text in away]
        params = {"q": texts, "like": like, "not": away, "k": int(draw.integers(1, 9))}
        asked.append((params | {"index": ["codes", "vectors"][number % 2]}, terms))

    async def all_at_once() -> list[httpx.Response]:
        async with asking(*two) as (client, _):
            return await asyncio.gather(
                *(client.get("/search", params=params) for params, _ in asked[:100])
            ) + (await asyncio.gather(*(client.get("/search", params=params) for params, _ in asked[100:])))

    for (params, terms), answer in zip(asked, asyncio.run(all_at_once()), strict=True):
        try:
            expected = indexes[params["index"]].search(terms=terms, k=params["k"])
        except limbeck.LimbeckError as error:
            assert answer.json()["error"]["code"] == error.code, params
            continue
        found = answer.json()["hits"]
        assert [hit["id"] for hit in found] == [hit.id for hit in expected], params
        assert [hit["score"] for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)


def test_a_query_that_fails_does_not_fail_its_batch(two: tuple[Path, Path]):
    queries = ["red", "xyzzy", "green", "red&where=nothing = 1", "red&fold=true", "red&bits=8"]

    async def all_at_once() -> tuple[list[httpx.Response], str]:
        async with asking(two[0], wait_ms=50.0) as (client, service):
            found = await asyncio.gather(*(client.get(f"/search?q={query}") for query in queries))
            return found, service.metrics.text([]).decode()

    answers, metrics = asyncio.run(all_at_once())
    assert [answer.status_code for answer in answers] == [200, 422, 200, 422, 200, 200]
    assert "limbeck_batch_queries_count 1.0" in metrics  # they did share one batch
    assert "limbeck_batch_queries_sum 6.0" in metrics


def test_options_of_the_search_reach_it(two: tuple[Path, Path]):
    index = limbeck.Index.open(two[0])

    async def ask() -> list[dict]:
        async with asking(two[0]) as (client, _):
            queries = ("bits=8&k=5", "fold=true&k=3", "radius=6", "asymmetric=true&k=4")
            return [(await client.get(f"/search?q=red&{query}")).json() for query in queries]

    expected = [
        index.search("red", 5, bits=8),
        index.search("red", 3, fold=True),
        index.search("red", radius=6),
        index.search("red", 4, asymmetric=True),
    ]
    for answer, hits in zip(asyncio.run(ask()), expected, strict=True):
        assert [(hit["id"], hit["alike"]) for hit in answer["hits"]] == [
            (hit.id, [*hit.alike]) for hit in hits
        ]


def test_a_repeated_query_is_answered_from_memory_until_the_index_changes(tmp_path: Path):
    path = small(tmp_path, 3)

    async def ask() -> list[dict]:
        async with asking(path) as (client, service):
            first = [(await client.get("/similar/0?k=9")).json() for _ in range(2)]
            assert 'limbeck_cache_lookups_total{result="hit"} 1.0' in service.metrics.text([]).decode()
            small(tmp_path, 5, replace=True)
            assert service.reload(service.at(None)) and not service.reload(service.at(None))
            return [*first, (await client.get("/similar/0?k=9")).json()]

    answers = asyncio.run(ask())
    assert [len(answer["hits"]) for answer in answers] == [2, 2, 4]
    assert [answer["generation"] for answer in answers] == [1, 1, 2]


def small(folder: Path, count: int, *, bits: int = 8, replace: bool = False) -> Path:
    codes = np.arange(count * bits // 8, dtype=np.uint8).reshape(count, -1)
    limbeck.Index.build(
        folder / "small", codes, items={"id": [str(n) for n in range(count)]}, replace=replace
    )
    return folder / "small"


def test_a_damaged_generation_is_not_taken_over(tmp_path: Path):
    path = small(tmp_path, 3)

    async def ask() -> dict:
        async with asking(path) as (client, service):
            small(tmp_path, 5, replace=True)
            (path / "manifest-2.json").write_text("{}")
            assert not service.reload(service.at(None))
            return (await client.get("/similar/0?k=9")).json()

    assert asyncio.run(ask())["generation"] == 1


def test_a_lost_index_is_reported_once_and_still_served(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = small(tmp_path, 3)

    async def ask() -> list[int]:
        async with asking(path) as (client, service):
            path.rename(tmp_path / "elsewhere")
            assert [service.reload(service.at(None)) for _ in range(3)] == [False] * 3
            lost = (await client.get("/similar/0")).status_code
            (tmp_path / "elsewhere").rename(path)
            small(tmp_path, 4, replace=True)
            assert service.reload(service.at(None))
            return [lost, len((await client.get("/similar/0")).json()["hits"])]

    with caplog.at_level("ERROR", "limbeck.serve"):
        assert asyncio.run(ask()) == [200, 3]
    assert [record.getMessage().endswith("[E-INDEX-MISSING]") for record in caplog.records] == [True]


def test_reloads_under_load_lose_no_request(tmp_path: Path):
    """Every answer is whole and of one generation; the codes change their length, too."""
    path = small(tmp_path, 3)

    async def ask() -> list[dict]:
        async with asking(path, reload_seconds=0.01, cache_bytes=0) as (client, service):
            answers: list[dict] = []
            stop = asyncio.Event()

            async def client_loop() -> None:
                while not stop.is_set():
                    answers.append((await client.get("/similar/0?k=99")).json())
                    await asyncio.sleep(0)

            clients = [asyncio.create_task(client_loop()) for _ in range(8)]
            for count in range(4, 9):
                await asyncio.to_thread(small, tmp_path, count, bits=8 * (1 + count % 2), replace=True)
                while service.at(None).current.generation < count - 2:
                    await asyncio.sleep(0.01)
            asked = len(answers)
            while len(answers) < asked + 16:
                await asyncio.sleep(0.01)
            stop.set()
            await asyncio.gather(*clients)
            return answers

    answers = asyncio.run(ask())
    assert all("error" not in answer for answer in answers)
    assert all(len(answer["hits"]) == answer["generation"] + 1 for answer in answers)
    assert {1, 6} <= {answer["generation"] for answer in answers}


@pytest.fixture
def process(two: tuple[Path, Path]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service in a process of its own, and its port."""
    command = [sys.executable, "-m", "limbeck", "serve", str(two[0]), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ}) as served:
        assert served.stderr is not None
        line = served.stderr.readline()
        assert "http://127.0.0.1:" in line, line
        yield served, int(line.rsplit(":", 1)[1])
        served.kill()


@pytest.mark.slow
def test_sigterm_under_load_answers_what_was_accepted(process: tuple[subprocess.Popen[str], int]):
    served, port = process
    lost: list[Exception] = []
    answered = [0] * 8

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while True:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return  # it has stopped listening
            closes, fresh = False, True
            while not closes:
                try:
                    connection.request("GET", f"/search?q=red&k={1 + answered[number] % 9}")
                    answer = connection.getresponse()
                    closes = answer.headers.get("Connection") == "close"
                    assert json.loads(answer.read())["hits"]
                    answered[number], fresh = answered[number] + 1, False
                except Exception as error:
                    if not (fresh and isinstance(error, ConnectionError)):  # else it was never accepted
                        lost.append(error)
                    return
            connection.close()

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    while not ready(port):
        time.sleep(0.05)
    for client in clients:
        client.start()
    while min(answered) < 5:
        time.sleep(0.01)
    begin = time.monotonic()
    served.send_signal(signal.SIGTERM)
    assert served.wait(15) == 0
    assert time.monotonic() - begin < 10
    for client in clients:
        client.join()
    assert not lost


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_a_calibration_is_taken_over(tmp_path: Path):
    random = np.random.default_rng(0)
    groups = random.integers(0, 256, (30, 8), dtype=np.uint8).repeat(10, axis=0)  # whose items stand out
    codes = groups ^ np.uint8(1) << random.integers(0, 8, (300, 8), dtype=np.uint8)
    items = {"id": [str(number) for number in range(300)]}
    index = limbeck.Index.build(tmp_path / "new", codes, items=items)

    async def ask() -> list[bool]:
        async with asking(tmp_path / "new") as (client, service):
            before = (await client.get("/similar/0")).json()["hits"]
            calibrate(index)
            service.reload(service.at(None))  # unless the watch, once per second, was first
            after = (await client.get("/similar/0")).json()["hits"]
            return [hits[0]["confidence"] is None for hits in (before, after)]

    assert asyncio.run(ask()) == [True, False]
