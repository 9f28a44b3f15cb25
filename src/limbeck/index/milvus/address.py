"""Where a collection is: ``milvus://HOST:PORT/NAME``, and a client for it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from limbeck.errors import LimbeckError

SCHEMES = ("milvus://", "milvus+tls://")
TOKEN = "MILVUS_TOKEN"
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 120.0  # after which pymilvus tries no more
_PORT = 19530
_ADDRESS = re.compile(
    r"milvus(?P<tls>\+tls)?://(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\])(?::(?P<port>\d{1,5}))?"
    r"/(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\?probes=(?P<probes>[1-9]\d*))?"
)


def is_address(engine: str) -> bool:
    """Whether an engine's name is the address of a collection."""
    return engine.startswith(SCHEMES)


@dataclass(frozen=True)
class Address:
    """A collection on a server.

    Attributes:
        host: name or number of the machine.
        port: 19530 unless said.
        name: of the collection.
        tls: speak TLS.
        probes: lists to look at, where the collection has lists.
    """

    host: str
    port: int
    name: str
    tls: bool = False
    probes: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``milvus://HOST:PORT/NAME`` (``milvus+tls://`` for TLS), with ``?probes=N`` or without.

        Raises:
            LimbeckError: another form; a password in it belongs into the environment.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match["port"] or _PORT) > 65535:
            raise LimbeckError(
                f"milvus: {text!r} is no address; write milvus://HOST:{_PORT}/NAME (letters, digits, _), "
                f"a user's token goes into {TOKEN}"
            )
        probes = None if match["probes"] is None else int(match["probes"])
        return cls(match["host"], int(match["port"] or _PORT), match["name"], bool(match["tls"]), probes)

    @property
    def server(self) -> str:
        """``HOST:PORT``."""
        return f"{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """As pymilvus takes it."""
        return f"http{'s' if self.tls else ''}://{self.server}"

    def __str__(self) -> str:
        return f"milvus{'+tls' if self.tls else ''}://{self.server}/{self.name}"


def connect(address: Address) -> Any:
    """A client of the server, which must answer; its token is read from the environment (`TOKEN`).

    Raises:
        LimbeckError: pymilvus is not installed, no server answers, or it refuses the token.
    """
    try:
        import pymilvus
    except ImportError:
        raise LimbeckError("milvus: pymilvus is not installed; pip install 'limbeck[milvus]'") from None
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # every error is raised as well
    try:
        return pymilvus.MilvusClient(address.uri, token=os.environ.get(TOKEN, ""), timeout=CONNECT_SECONDS)
    except Exception as error:  # pymilvus and gRPC raise their own, several kinds
        cause = _cause(error)
        raise LimbeckError(
            f"milvus: no server answers at {address.server} ({cause}); start it, or correct the address"
        ) from None


@contextlib.contextmanager
def one_line_errors(address: Address) -> Iterator[None]:
    """Errors of pymilvus, and of gRPC below it, as a `LimbeckError` that names the collection."""
    kinds = (("pymilvus", "MilvusException"), ("grpc", "RpcError"))
    known = tuple(getattr(sys.modules[module], name) for module, name in kinds if module in sys.modules)
    try:
        yield
    except known as error:
        raise LimbeckError(
            f"{address}: Milvus fails ({_cause(error)}); see that the server runs, and its log"
        ) from None


def _cause(error: Exception) -> str:
    text = getattr(error, "message", None) or str(error)
    return (str(text).strip().splitlines() or [type(error).__name__])[0][:160]
