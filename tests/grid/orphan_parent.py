"""Starts a process that would run for ever, says its number, and waits to be killed."""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path

from limbeck.grid.workers import stop_with_parent
from limbeck.signals import raises_at_sigterm


def work(mark: str) -> None:
    with raises_at_sigterm():
        stop_with_parent()
        Path(mark + ".begun").touch()
        try:
            while True:
                time.sleep(60)
        except KeyboardInterrupt:
            Path(mark + ".stopped").touch()


if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1],), daemon=True)
    process.start()
    print(process.pid, flush=True)
    time.sleep(600)
