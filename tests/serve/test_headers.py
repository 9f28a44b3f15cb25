"""Headers of every answer; whose pages may use the service."""

from __future__ import annotations

import pytest
from asgi_call import LOCAL, ask, echo

from limbeck.serve.headers import OwnPagesOnly, SecurityHeaders, hosts_of, is_loopback

OWN = OwnPagesOnly(echo, hosts_of("127.0.0.1", ("search.example.org",)))


def asked(host: bytes, *more: tuple[bytes, bytes], app: OwnPagesOnly = OWN, **scope: object):
    return ask(app, headers=[(b"host", host), *more], **scope)


def test_every_answer_has_the_headers_and_the_id() -> None:
    got = ask(SecurityHeaders(echo), headers=[*LOCAL, (b"x-request-id", b"a-1.b_2")])
    csp = got.headers["content-security-policy"]
    assert "default-src 'none'" in csp and "frame-ancestors 'none'" in csp
    assert "unsafe" not in csp and "*" not in csp and "http" not in csp
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["referrer-policy"] == "no-referrer"
    assert got.headers["cross-origin-resource-policy"] == "same-origin"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["x-request-id"] == "a-1.b_2"


def test_an_answer_keeps_its_own_header() -> None:
    async def cached(scope, receive, send) -> None:
        headers = [(b"Cache-Control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    got = ask(SecurityHeaders(cached))
    assert got.headers["Cache-Control"] == "max-age=60" and "cache-control" not in got.headers


@pytest.mark.parametrize("given", [b"", b"a b", b"a\r\nx: y", b"x" * 65, "é".encode(), b"<b>"])
def test_an_odd_request_id_is_replaced(given: bytes) -> None:
    made = ask(SecurityHeaders(echo), headers=[*LOCAL, (b"x-request-id", given)]).headers["x-request-id"]
    assert made != given.decode("latin-1") and len(made) == 16 and made.isalnum()


@pytest.mark.parametrize(
    "host",
    [b"localhost", b"127.0.0.1:8000", b"[::1]:8000", b"LOCALHOST:1", b"search.example.org", b"localhost."],
)
def test_own_names_pass(host: bytes) -> None:
    assert asked(host).status == 200


@pytest.mark.parametrize("host", [b"evil.example", b"127.0.0.1.evil.example", b"192.0.2.7", b"[::2]"])
def test_other_names_are_421(host: bytes) -> None:
    got = asked(host)
    assert (got.status, got.code) == (421, "E-REQUEST-HOST")


@pytest.mark.parametrize(
    "host", [b"", b"local host", b"localhost:x", b"a@localhost", b"localhost/", b"[::1", b"\xe9", b"a" * 300]
)
def test_malformed_names_are_400(host: bytes) -> None:
    assert asked(host).status == 400


def test_two_hosts_or_none_are_400() -> None:
    assert ask(OWN, headers=[]).status == 400
    assert ask(OWN, headers=[*LOCAL, (b"host", b"evil.example")]).status == 400


def test_a_wildcard_address_allows_all_names_until_some_are_given() -> None:
    assert hosts_of("0.0.0.0", ()) is None
    assert asked(b"any.example", app=OwnPagesOnly(echo, None)).status == 200
    assert hosts_of("::", ("A.example",)) == {"a.example", "localhost", "127.0.0.1", "::1"}


@pytest.mark.parametrize(("bound", "local"), [
    ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
    ("0.0.0.0", False), ("192.0.2.1", False), ("example.org", False),
])  # fmt: skip
def test_loopback(bound: str, local: bool) -> None:
    assert is_loopback(bound) is local


def test_foreign_pages_may_link_but_not_read_or_send() -> None:
    cross, navigate = (b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate")
    image = (b"sec-fetch-mode", b"no-cors")
    assert asked(b"localhost", cross, navigate).status == 200
    for headers, method in (((cross, image), "GET"), ((cross, navigate), "POST"), ((cross,), "GET")):
        got = asked(b"localhost", *headers, method=method)
        assert (got.status, got.code) == (403, "E-REQUEST-ORIGIN")
    for site in (b"same-origin", b"same-site", b"none"):
        assert asked(b"localhost", (b"sec-fetch-site", site), image).status == 200
