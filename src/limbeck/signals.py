"""Turn SIGTERM into an exception, so that what Ctrl-C undoes or keeps is undone or kept by SIGTERM too."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Terminated(KeyboardInterrupt):
    """Raised at SIGTERM inside `raises_at_sigterm`."""


@contextlib.contextmanager
def raises_at_sigterm() -> Iterator[None]:
    """Raise `Terminated` at SIGTERM; the training loop handles the signal itself while it runs.

    Outside the main thread, which alone receives signals, it does nothing.
    """

    def stop(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
