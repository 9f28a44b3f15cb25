"""A service on a real socket, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from limbeck.serve.app import create_app
from limbeck.serve.guard import Guard
from limbeck.serve.protocol import Protocol
from limbeck.serve.settings import Settings


@contextmanager
def live(
    indexes: Sequence[Path], guard: Guard | None = None, root_path: str = "", **options: object
) -> Iterator[int]:
    """Serve indexes until the context ends; gives the port."""
    app = create_app(indexes, Settings(guard=guard or Guard(), root_path=root_path))
    options |= {"root_path": root_path}
    config = uvicorn.Config(app, port=0, log_level="critical", ws="none", http=Protocol, **options)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the service does not start"
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
