"""Log progress lines of running tasks: the name, the time so far, and the last step."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

INTERVAL = 300.0
"""Seconds between two progress lines of a run."""


class Heartbeat:
    """Writes a line when a run starts, and one per `INTERVAL` seconds while it runs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._running: dict[str, tuple[Path, float]] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, folder: Path, line: str) -> None:
        """Register a run that starts, and write ``line``."""
        with self._lock:
            self._running[name] = (folder, time.monotonic())
        self.say(line)

    def end(self, name: str) -> None:
        """Remove a run that ended."""
        with self._lock:
            self._running.pop(name, None)

    def beat(self) -> None:
        """Write one line per running run."""
        with self._lock:
            running = list(self._running.items())
        for name, (folder, began) in running:
            self.say(f"{name}: running for {(time.monotonic() - began) / 60:.0f} min, {last_step(folder)}")

    @contextlib.contextmanager
    def running(self, seconds: float) -> Iterator[None]:
        """Call `beat` every ``seconds`` seconds from a thread until the end of the block."""
        done = threading.Event()

        def work() -> None:
            while not done.wait(seconds):
                self.beat()

        thread = threading.Thread(target=work, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def last_step(run: Path) -> str:
    """Describe the last logged step of the stage that was logged most recently."""
    logs = [file for file in run.glob("stages/*/metrics.jsonl") if file.is_file() and file.stat().st_size]
    if not logs:
        return "no step logged yet"
    newest = max(logs, key=lambda file: file.stat().st_mtime_ns)
    for line in reversed(newest.read_text(encoding="utf-8").split("\n")):
        with contextlib.suppress(
            json.JSONDecodeError, KeyError, TypeError
        ):  # the last line may be incomplete
            return f"stage {newest.parent.name}, step {json.loads(line)['step']:,}"
    return "no step logged yet"
