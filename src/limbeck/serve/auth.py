"""The API key: who may ask the service at all."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from limbeck.errors import LimbeckError
from limbeck.serve.asgi import header, route_path, send_error

ENVIRONMENT = "LIMBECK_API_KEY"
OPEN = frozenset({"/health", "/ready"})
"""What a supervisor asks without a key; the answers tell nothing of a collection."""
_SHORTEST = 16  # characters
_CHALLENGE = [(b"www-authenticate", b'Basic realm="limbeck", charset="UTF-8"')]


def read_keys(file: Path | str | None) -> tuple[str, ...]:
    """Return the keys of a file, one per line (several while one replaces another), or of `ENVIRONMENT`.

    Raises:
        LimbeckError: the file cannot be read or is empty, or a key is short or not plain ASCII.
    """
    if file is None:
        name, text = ENVIRONMENT, os.environ.get(ENVIRONMENT)
        if text is None:
            return ()
    else:
        name = str(file)
        try:
            text = Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise LimbeckError(f"{name}: cannot read the API key ({reason})", code="E-PATH-READ") from None
    keys = tuple(text.split())
    if not keys or not all(len(key) >= _SHORTEST and key.isascii() for key in keys):
        raise LimbeckError(
            f"{name}: an API key has at least {_SHORTEST} ASCII characters without blanks; "
            "make one with: openssl rand -hex 16",
            code="E-OPTION-FORM",
        )
    return keys


class ApiKey:
    """Lets requests pass that have one of the keys; without keys, all of them.

    A program sends ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``. A browser is asked for a user name
    (any) and a password (the key) by HTTP Basic, and then sends them with every picture of the page too.
    """

    def __init__(self, app: ASGIApp, keys: tuple[str, ...]) -> None:
        self.app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to a request without a valid key."""
        if scope["type"] != "http" or not self._digests or route_path(scope) in OPEN or self._known(scope):
            await self.app(scope, receive, send)
            return
        message = "the service needs an API key; send it as Authorization: Bearer KEY"
        await send_error(scope, send, 401, "E-REQUEST-KEY", message, _CHALLENGE)

    def _known(self, scope: Scope) -> bool:
        digest = _digest(_given(scope))
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all: in constant time
        return any(matches)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()  # of equal length, whatever a request sends


def _given(scope: Scope) -> bytes:
    given = header(scope, b"x-api-key")
    if given is not None:
        return given
    scheme, _, value = (header(scope, b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
