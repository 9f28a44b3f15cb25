"""``limbeck serve``: answer searches over HTTP, with a page for people."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogLevel(StrEnum):
    """The levels of the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    indexes: Annotated[list[Path], typer.Argument(help="Index directories, from `limbeck index build`.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    media: Annotated[
        Path | None, typer.Option(help="Current folder or zip of the pictures, if they moved.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File of API keys, one per line; default: LIMBECK_API_KEY, or no key.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Further host name of the service, such as that of a proxy; may be repeated."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0, help="Requests per second per client; 0 sets no limit; default: 50, none on loopback."
        ),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="Address of a proxy whose X-Forwarded-For names the client.")
    ] = None,
    root_path: Annotated[str, typer.Option(help="Path under which a proxy offers the service.")] = "",
    batch: Annotated[
        int,
        typer.Option(min=1, help="Largest number of queries per pass over an index; 1 answers one by one."),
    ] = 64,
    log_queries: Annotated[
        bool, typer.Option("--log-queries", help="Also log the texts of queries.")
    ] = False,
    log_level: Annotated[LogLevel, typer.Option(help="Least severe level that is logged.")] = LogLevel.INFO,
) -> None:
    """Serve indexes over HTTP: an API, and a page at http://HOST:PORT/."""
    # More threads would take longer than short texts, and the core that reads the requests.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("LIMBECK_ONNX_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for torch, where an encoder needs it

    from limbeck.errors import LimbeckError
    from limbeck.optional_deps import require

    require("fastapi")  # whose error names the extra; the modules below import what comes with it
    from limbeck.serve.auth import read_keys
    from limbeck.serve.guard import Guard
    from limbeck.serve.run import serve as run
    from limbeck.serve.settings import Settings

    if media is not None and not media.exists():
        raise LimbeckError(
            f"{media}: there is no such folder or zip file; give --media the current folder of the pictures",
            code="E-PATH-MISSING",
        )
    guard = Guard(
        host=host,
        allow_hosts=tuple(allow_host or ()),
        keys=read_keys(api_key_file),
        rate=rate,
        log_queries=log_queries,
    )
    run(
        indexes,
        Settings(media=media, guard=guard, root_path=root_path, batch=batch),
        port=port,
        log_level=log_level.value,
        proxy=proxy,
    )
