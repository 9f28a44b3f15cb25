"""The API key: every way to give it, and none that passes without it."""

from __future__ import annotations

import base64

import pytest
from asgi_call import LOCAL, ask, echo

from limbeck.serve.auth import ENVIRONMENT, ApiKey, read_keys
from raising import raises_code

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
APP = ApiKey(echo, (KEY, OTHER))


def status(*headers: tuple[bytes, bytes], path: str = "/search", **scope: object) -> int:
    return ask(APP, path, headers=[*LOCAL, *headers], **scope).status


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_keys_pass_as_bearer_header_and_password(key: str) -> None:
    basic = base64.b64encode(f"anybody:{key}".encode())
    assert status((b"authorization", b"Bearer " + key.encode())) == 200
    assert status((b"authorization", b"bearer  " + key.encode())) == 200
    assert status((b"x-api-key", key.encode())) == 200
    assert status((b"authorization", b"Basic " + basic)) == 200


@pytest.mark.parametrize(
    "headers",
    [
        (),
        [(b"x-api-key", b"")],
        [(b"x-api-key", KEY.encode() + b"0")],
        [(b"x-api-key", KEY[:-1].encode())],
        [(b"x-api-key", b"\xff" * 16)],
        [(b"authorization", KEY.encode())],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Digest " + KEY.encode())],
        [(b"authorization", b"Basic " + base64.b64encode(KEY.encode()))],
        [(b"authorization", b"Basic !!")],
        [(b"x-api-key", b"wrong"), (b"authorization", b"Bearer " + KEY.encode())],
    ],
)
def test_anything_else_is_401_with_a_challenge(headers: list[tuple[bytes, bytes]]) -> None:
    got = ask(APP, "/search", headers=[*LOCAL, *headers])
    assert (got.status, got.code) == (401, "E-REQUEST-KEY")
    assert got.headers["www-authenticate"].startswith("Basic ")
    assert KEY.encode() not in got.body


def test_only_the_probes_are_open() -> None:
    assert [status(path=path) for path in ("/health", "/ready")] == [200, 200]
    assert status(path="/api/health", root_path="/api") == 200
    for path in ("/", "/metrics", "/openapi.json", "/page/app.js", "/health/", "/health/x", "//health"):
        assert status(path=path) == 401, path


def test_without_keys_everybody_asks() -> None:
    assert ask(ApiKey(echo, ()), "/search").status == 200


def test_keys_come_from_a_file_or_the_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert read_keys(None) == ()
    monkeypatch.setenv(ENVIRONMENT, KEY)
    assert read_keys(None) == (KEY,)
    (tmp_path / "keys").write_text(f"{KEY}\n{OTHER}\n")
    assert read_keys(tmp_path / "keys") == (KEY, OTHER)


@pytest.mark.parametrize("text", ["", "\n", "short", f"{KEY} short", "é" * 16])
def test_weak_keys_are_refused(tmp_path, monkeypatch, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with raises_code("E-OPTION-FORM", tmp_path / "keys"):
        read_keys(tmp_path / "keys")
    monkeypatch.setenv(ENVIRONMENT, text)
    with raises_code("E-OPTION-FORM", ENVIRONMENT):
        read_keys(None)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path) -> None:
    with raises_code("E-PATH-READ", tmp_path / "none"):
        read_keys(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 20)
    with raises_code("E-PATH-READ", "UTF-8"):
        read_keys(tmp_path / "binary")
