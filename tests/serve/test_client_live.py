"""The client and a real service give what the index gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from live import live
from PIL import Image

from limbeck import Client, Index
from limbeck.search import Hit, Term
from limbeck.serve.guard import Guard
from raising import raises_code

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def client(pictures: Path) -> Iterator[Client]:
    with live([pictures], Guard(keys=(KEY,))) as port, Client(f"http://127.0.0.1:{port}", KEY) as client:
        yield client


@pytest.fixture(scope="module")
def index(pictures: Path) -> Index:
    return Index.open(pictures)


def same(found: list[Hit], expected: list[Hit]) -> None:
    assert found == [replace(hit, row=-1) for hit in expected]
    assert expected


def test_every_kind_of_query_gives_the_hits_of_the_index(
    client: Client, index: Index, pictures: Path
) -> None:
    file = pictures.parent / "media" / "0007.png"
    item = "größe a/0002.png"
    with Image.open(file) as image:
        for query, options in (
            (("red",), {}),
            (("red", 3), {"asymmetric": True}),
            (("red", 3), {"asymmetric": False}),
            (("red", 5), {"bits": 8}),
            (("red", 12), {"fold": True}),
            (("green",), {"radius": 6}),
            (("blue",), {"where": "path = '0007.png'"}),
            ((), {"like": item, "k": 4}),
            ((), {"image": file, "k": 4}),
            ((), {"image": image.copy(), "k": 4}),
            ((), {"terms": [Term("red"), Term("dark", weight=-0.5), Term(image=file), Term(id=item)]}),
        ):
            same(client.search(*query, **options), index.search(*query, **options))
    same(client.similar(item, 4), index.search(like=item, k=4))


def test_items_info_and_embeddings(client: Client, index: Index, pictures: Path) -> None:
    hit = client.item("größe a/0002.png")
    assert hit.id == "größe a/0002.png" and hit.metadata["path"] == hit.id
    assert client.info()["indexes"][0]["items"] == 12
    file = pictures.parent / "media" / "0007.png"
    made = client.embed(["red", "green blue"]), client.embed(images=[file])
    asked = [[Term("red")], [Term("green blue")]], [[Term(image=file)]]
    for vectors, queries in zip(made, asked, strict=True):
        expected = index.encode_queries(queries, asymmetric=True)[0]
        assert np.array_equal(vectors, np.asarray(expected, np.float32))


def test_errors_carry_the_code_of_the_index(client: Client) -> None:
    with raises_code("E-ID-UNKNOWN", "'none'", "request "):
        client.item("none")
    with raises_code("E-QUERY-WORDS", "xyzzy"):
        client.search("xyzzy")
    with raises_code("E-FILTER-SYNTAX"):
        client.search("red", where="((")


def test_a_wrong_key_is_said(client: Client) -> None:
    for key in (None, "f" * 16):
        with raises_code("E-REQUEST-KEY"), Client(client.url, key) as other:
            other.search("red")


def test_threads_share_a_client(client: Client, index: Index) -> None:
    expected, found = index.search("red", 3), {}

    def ask(number: int) -> None:
        found[number] = [client.search("red", 3) for _ in range(5)]
        client.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for answers in found.values():
        for answer in answers:
            same(answer, expected)
