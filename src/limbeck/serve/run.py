"""Runs the service: uvicorn with one worker, and an end that loses no accepted request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from limbeck.errors import LimbeckError
from limbeck.files.durability import WINDOWS
from limbeck.notices import say
from limbeck.serve.app import create_app
from limbeck.serve.headers import is_loopback
from limbeck.serve.logs import LOG, log_to_stderr
from limbeck.serve.protocol import Protocol
from limbeck.serve.service import Service
from limbeck.serve.settings import Settings


def serve(
    indexes: Sequence[Path | str],
    settings: Settings,
    *,
    port: int,
    log_level: str = "info",
    proxy: str | None = None,
) -> None:
    """Serve indexes until SIGTERM or SIGINT.

    Args:
        indexes: index directories.
        settings: how to answer.
        port: the port; 0 takes a free one.
        log_level: of uvicorn's logger and ours.
        proxy: the address of a proxy whose ``X-Forwarded-For`` names the client.

    Raises:
        LimbeckError: an index cannot be opened, or the port is taken.
    """
    app = create_app(indexes, settings)
    config = uvicorn.Config(
        app,
        log_level=log_level,
        access_log=False,
        server_header=False,
        ws="none",
        http=Protocol,
        root_path=settings.root_path,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy,
        timeout_graceful_shutdown=int(settings.drain_seconds),
    )
    log_to_stderr()
    LOG.setLevel(log_level.upper())
    server = Draining(config, app.state.service)
    with _listen(settings.guard.host, port, config.backlog) as listener:
        address, taken = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        say(f"serves {', '.join(app.state.service.indexes)} on http://{shown}:{taken}")
        if not settings.guard.keys and not is_loopback(settings.guard.host):
            say("anybody who reaches this address may search; give --api-key-file to ask for a key")
        server.run(sockets=[listener])


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        if not WINDOWS:  # where the option lets two processes take one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)  # from here on a connection waits, until the server takes it
    except OSError as error:
        raise LimbeckError(
            f"{host}:{port}: cannot listen ({error.strerror}); choose another --host or --port",
            code="E-SERVER-ADDRESS",
        ) from None
    return listener


class Draining(uvicorn.Server):
    """A server that ends in three steps.

    At the signal it takes no further connection, and ``/ready`` answers 503. Every response then closes its
    connection, so that no request is on its way to a closed one. The connections that ask nothing for a
    second are closed last.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT; uvicorn would raise them again afterwards, and so fail."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal; a second one ends at once."""
        self._service.draining = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and exclude what is loaded from garbage collection, because it stays."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, answer what was accepted, and close."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        end = time.monotonic() + min(1.0, self._service.settings.drain_seconds)
        while self.server_state.connections and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
