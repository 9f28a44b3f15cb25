"""``limbeck serve``: answer searches over HTTP, with a page for people."""

from __future__ import annotations

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
    log_level: Annotated[LogLevel, typer.Option(help="What is logged.")] = LogLevel.INFO,
) -> None:
    """Serve indexes over HTTP: an API, and a page at http://HOST:PORT/."""
    from limbeck.errors import LimbeckError
    from limbeck.serve.run import serve as run
    from limbeck.serve.settings import Settings

    if media is not None and not media.exists():
        raise LimbeckError(
            f"{media}: no such folder or zip file; give --media the current folder of the pictures",
            code="E-PATH-MISSING",
        )
    run(indexes, Settings(media=media), host=host, port=port, log_level=log_level.value)
