"""The real Milvus server of the PyPI package `milvus`, for the slow tests.

It listens on all interfaces and cannot be told otherwise, so it runs in a network namespace of its own, where
there is nothing but loopback. A Unix socket leads into it, and a port of 127.0.0.1 to that socket.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

INSIDE = ["unshare", "--map-root-user", "--net"]


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _joined(connect: Callable[[], socket.socket]) -> type[socketserver.BaseRequestHandler]:
    """A handler that joins what came in with a connection of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with connect() as other:
                back = threading.Thread(target=_pump, args=(other, self.request), daemon=True)
                back.start()
                _pump(self.request, other)
                back.join()

    return Handler


class _Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Loopback(socketserver.ThreadingTCPServer):
    daemon_threads = True


def _unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


@contextlib.contextmanager
def milvus_server(folder: Path) -> Iterator[int]:
    """The port, on 127.0.0.1, of a fresh server that keeps its data in a folder; stopped at the end."""
    if find_spec("milvus") is None or find_spec("pymilvus") is None:
        pytest.skip("needs the PyPI packages milvus (the server) and pymilvus")
    if shutil.which("unshare") is None or subprocess.run([*INSIDE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here, and the server would listen on all interfaces")
    door = str(folder / "door")
    process = subprocess.Popen(
        [*INSIDE, sys.executable, __file__, str(folder), door],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line.strip() != "ready":
            pytest.skip(f"the Milvus server does not start here: {line.strip() or 'it ended'}")
        with _Loopback(("127.0.0.1", 0), _joined(lambda: _unix(door))) as outside:
            threading.Thread(target=outside.serve_forever, daemon=True).start()
            try:
                yield outside.server_address[1]
            finally:
                outside.shutdown()
    finally:
        process.communicate("stop\n", timeout=60)


def inside(folder: Path, door: str) -> None:
    """In the namespace: bring loopback up, run the server, open the door to it until told to stop."""
    import fcntl
    import struct

    from milvus import MilvusServer

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up = struct.pack("16sh14x", b"lo", 0x1)  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    server = MilvusServer(data_dir=str(folder / "milvus"))
    try:
        try:
            server.start()
        except (RuntimeError, TimeoutError, OSError) as error:
            print(error, flush=True)
            return
        port = server.listen_port
        with _Unix(door, _joined(lambda: socket.create_connection(("127.0.0.1", port)))) as gate:
            threading.Thread(target=gate.serve_forever, daemon=True).start()
            print("ready", flush=True)
            sys.stdin.readline()
            gate.shutdown()
    finally:
        server.stop()


if __name__ == "__main__":
    inside(Path(sys.argv[1]), sys.argv[2])
