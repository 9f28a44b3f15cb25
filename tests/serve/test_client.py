"""The client against a server that answers what a test scripts: transport, retries, errors."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from limbeck import Client
from raising import raises_code

HIT = {
    "id": "a/b ü", "score": 3, "confidence": 0.9, "alike": [], "metadata": {"labels": ["sky"]},
    "thumbnail": None, "picture": None,
}  # fmt: skip
FOUND = {"index": "photos", "generation": 1, "score_name": "distance", "hits": [HIT]}
ERROR = {"error": {"code": "E-ID-UNKNOWN", "message": "photos: no item 'x'", "correlation_id": "c-1"}}


class Script(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: ClassVar[list[tuple[int, dict[str, str], Any]]] = []
    asked: ClassVar[list[tuple[str, str, Any, dict[str, str]]]] = []
    ports: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.asked.append((self.command, self.path, body, dict(self.headers)))
        self.ports.append(self.client_address[1])
        status, headers, value = self.answers.pop(0)
        answer = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = "X-Then-Close" in headers  # without telling the client

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Script.answers.clear(), Script.asked.clear(), Script.ports.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Script) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/prefix/"
        listening.shutdown()


def say(*answers: tuple[int, dict[str, str], Any]) -> None:
    Script.answers.extend(answers)


OK = (200, {}, FOUND)


def test_a_search_by_text_is_a_get_with_what_was_given(server: str) -> None:
    say(OK)
    with Client(server, "a-key", index="photos") as client:
        (hit,) = client.search("Bäume & Meer", 5, where="labels has sky", asymmetric=True)
    method, path, body, headers = Script.asked[0]
    assert (method, body, headers["Authorization"]) == ("GET", None, "Bearer a-key")
    assert path == (
        "/prefix/search?index=photos&q=B%C3%A4ume+%26+Meer&k=5&where=labels+has+sky"
        "&engine=exact&recall=0.95&asymmetric=true"
    )
    assert (hit.id, hit.score, hit.metadata) == ("a/b ü", 3, {"labels": ["sky"]})


def test_one_connection_serves_many_requests_and_is_made_anew_when_lost(server: str) -> None:
    say(OK, OK, (200, {"X-Then-Close": "1"}, FOUND), OK)
    with Client(server) as client:
        for _ in range(4):
            assert len(client.search("x")) == 1
    first, second, third, fourth = Script.ports
    assert first == second == third != fourth


def test_a_get_waits_and_asks_again(server: str, monkeypatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("limbeck.client.time.sleep", waits.append)
    busy = {"error": {"code": "E-SERVER-BUSY", "message": "busy", "correlation_id": "b"}}
    say((503, {"Retry-After": "2"}, busy), (503, {"Retry-After": "999"}, busy), OK)
    with Client(server) as client:
        assert len(client.search("x")) == 1
        say(*[(503, {"Retry-After": "1"}, busy)] * 4)
        with raises_code("E-SERVER-BUSY", "busy"):
            client.search("x")
    assert waits == [2, 30, 1, 1, 1]


def test_no_retry_without_retry_after_or_of_a_post(server: str) -> None:
    busy = {"error": {"code": "E-SERVER-BUSY", "message": "busy", "correlation_id": "b"}}
    say((503, {}, busy), (503, {"Retry-After": "1"}, busy))
    with Client(server) as client:
        with raises_code("E-SERVER-BUSY"):
            client.search("x")
        with raises_code("E-SERVER-BUSY"):
            client.search(image=Image.new("RGB", (2, 2)))
    assert len(Script.asked) == 2


def test_ids_are_quoted_whole(server: str) -> None:
    say(OK, (200, {}, {**HIT, "score": None}))
    with Client(server) as client:
        client.similar("../a b?&#ü", 3)
        item = client.item("a/b ü")
    assert Script.asked[0][1] == "/prefix/similar/..%2Fa%20b%3F%26%23%C3%BC?k=3"
    assert Script.asked[1][1] == "/prefix/items/a%2Fb%20%C3%BC"
    assert np.isnan(item.score) and item.id == "a/b ü"


def test_pictures_are_sent_as_they_are_or_as_png(server: str, tmp_path) -> None:
    made = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8))
    for name in ("a.jpg", "a.tiff"):
        made.save(tmp_path / name)
    say(OK, OK, OK)
    with Client(server) as client:
        for image in (tmp_path / "a.jpg", str(tmp_path / "a.tiff"), made):
            client.search(image=image, k=2)
    sent = [base64.b64decode(body["terms"][0]["image"]) for _, _, body, _ in Script.asked]
    assert sent[0] == (tmp_path / "a.jpg").read_bytes()
    for data in sent[1:]:
        with Image.open(io.BytesIO(data)) as read:
            assert read.format == "PNG" and np.array_equal(np.asarray(read), np.asarray(made))
    assert Script.asked[0][2]["k"] == 2 and "where" not in Script.asked[0][2]


def test_embeddings_keep_their_order_and_numbers(server: str) -> None:
    rows = np.arange(6, dtype="<f4").reshape(2, 3) / 7
    say((200, {}, {"data": [{"embedding": base64.b64encode(row.tobytes()).decode()} for row in rows]}))
    with Client(server, index="photos") as client:
        made = client.embed(["a"], images=[Image.new("RGB", (1, 1))])
    assert made.dtype == np.float32 and np.array_equal(made, rows)
    body = Script.asked[0][2]
    assert body["model"] == "photos" and body["input"][0] == "a" and set(body["input"][1]) == {"image"}


def test_errors_of_the_service_are_raised_with_their_code_and_request(server: str) -> None:
    say((404, {}, ERROR), (400, {}, {"error": {**ERROR["error"], "code": "E-NEWER-VERSION"}}))
    with Client(server) as client:
        with raises_code("E-ID-UNKNOWN", "no item 'x'", "c-1"):
            client.item("x")
        with raises_code("E-SERVER-CONNECTION", "no item 'x'"):
            client.item("x")


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>"),
        (200, {}, []),
        (502, {}, b"Bad Gateway"),
        (500, {}, {"error": "odd"}),
        (301, {"Location": "http://127.0.0.1:1/"}, b""),
        (404, {}, None),
    ],
)
def test_another_server_is_named(server: str, answer: tuple[int, dict[str, str], Any]) -> None:
    say(answer)
    with Client(server) as client, raises_code("E-SERVER-CONNECTION", server.rstrip("/"), answer[0]):
        client.info()


def test_no_server_and_a_silent_one_are_errors() -> None:
    import socket

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        with raises_code("E-SERVER-CONNECTION", port):
            Client(f"http://127.0.0.1:{port}", timeout=0.05).info()
    with raises_code("E-SERVER-CONNECTION", port):
        Client(f"http://127.0.0.1:{port}").info()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h:99999",
        "http://h/?a=1",
        "http://u:p@h",
        "",
    ],
)
def test_addresses_are_checked(url: str) -> None:
    with raises_code("E-OPTION-FORM"):
        Client(url)


def test_exactly_one_query_and_a_plain_key() -> None:
    client = Client("http://127.0.0.1:1")
    for given in ({}, {"query": "a", "like": "b"}):
        with raises_code("E-QUERY-FORM"):
            client.search(**given)
    with raises_code("E-OPTION-FORM", "api_key"):
        Client("http://h", "key\r\nX-Evil: 1")
