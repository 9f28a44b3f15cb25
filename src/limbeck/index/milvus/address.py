"""Parses addresses of collections, ``milvus://HOST:PORT/NAME``, and connects to their server."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.optional_deps import require

if TYPE_CHECKING:
    from pymilvus import MilvusClient


SCHEMES = ("milvus://", "milvus+tls://")
TOKEN = "MILVUS_TOKEN"
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 120.0  # time limits of pymilvus
_PORT = 19530
_ADDRESS = re.compile(
    r"milvus(?P<tls>\+tls)?://(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\])(?::(?P<port>\d{1,5}))?"
    r"/(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\?nprobe=(?P<nprobe>[1-9]\d*))?"
)


def is_address(engine: str) -> bool:
    """Return whether an engine's name is the address of a collection."""
    return engine.startswith(SCHEMES)


@dataclass(frozen=True)
class Address:
    """Holds the address of a collection on a server.

    Attributes:
        host: host name or IP address.
        port: the port, by default 19530.
        name: the name of the collection.
        tls: whether to use TLS.
        nprobe: the number of lists to scan (nprobe) in a collection with lists; None for the default.
    """

    host: str
    port: int
    name: str
    tls: bool = False
    nprobe: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse ``milvus://HOST:PORT/NAME`` (``milvus+tls://`` for TLS), with an optional ``?nprobe=N``.

        Raises:
            LimbeckError: the address is invalid. It must not hold a password; set `TOKEN` for that.
        """
        if "?probes=" in text:
            raise LimbeckError(
                f"milvus: {text!r}: ?probes= is now named ?nprobe=; rename it", code="E-MILVUS-ADDRESS"
            )
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match["port"] or _PORT) > 65535:
            raise LimbeckError(
                f"milvus: {text!r} is not an address; write milvus://HOST:{_PORT}/NAME (letters, digits, "
                f"_), and put a token into the environment variable {TOKEN}",
                code="E-MILVUS-ADDRESS",
            )
        nprobe = None if match["nprobe"] is None else int(match["nprobe"])
        return cls(match["host"], int(match["port"] or _PORT), match["name"], bool(match["tls"]), nprobe)

    @property
    def server(self) -> str:
        """The server, ``HOST:PORT``."""
        return f"{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """The address in pymilvus' form."""
        return f"http{'s' if self.tls else ''}://{self.server}"

    def __str__(self) -> str:
        return f"milvus{'+tls' if self.tls else ''}://{self.server}/{self.name}"


def connect(address: Address) -> MilvusClient:
    """Connect to a server and return a client; the environment variable `TOKEN` holds the token.

    Raises:
        LimbeckError: pymilvus is not installed, no server answers, or it refuses the token.
    """
    pymilvus = require("pymilvus")
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # every logged error is raised as well
    try:
        return pymilvus.MilvusClient(address.uri, token=os.environ.get(TOKEN, ""), timeout=CONNECT_SECONDS)
    except Exception as error:  # pymilvus and gRPC raise several kinds
        cause = _cause(error)
        raise LimbeckError(
            f"milvus: no server answers at {address.server} ({cause}); start it, or correct the address",
            code="E-MILVUS-SERVER",
        ) from None


@contextlib.contextmanager
def one_line_errors(address: Address) -> Iterator[None]:
    """Turn errors of pymilvus and gRPC into a one-line `LimbeckError` that names the collection."""
    kinds = (("pymilvus", "MilvusException"), ("grpc", "RpcError"))
    known = tuple(getattr(sys.modules[module], name) for module, name in kinds if module in sys.modules)
    try:
        yield
    except known as error:
        raise LimbeckError(
            f"{address}: Milvus failed ({_cause(error)}); check that the server runs, and its log",
            code="E-MILVUS-SERVER",
        ) from None


def _cause(error: Exception) -> str:
    text = getattr(error, "message", None) or str(error)
    return (str(text).strip().splitlines() or [type(error).__name__])[0][:160]
