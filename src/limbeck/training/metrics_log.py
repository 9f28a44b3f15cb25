"""Log training to ``metrics.jsonl``, and show a progress line with pairs per second and the time left."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from limbeck.console import console
from limbeck.files import json_text, write_atomic
from limbeck.notices import say
from limbeck.tables import split_lines
from limbeck.typed import Json


class MetricsLog:
    """The file ``metrics.jsonl``, with one line per logged step."""

    def __init__(self, path: Path, *, resume_step: int) -> None:
        """Open the file for appending; drop lines after ``resume_step``, which were written before a kill."""
        self.path = path
        kept = []
        if path.is_file():
            for line in split_lines(path.read_text(encoding="utf-8")):
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the half line of a killed writer
                if row["step"] <= resume_step:
                    kept.append(line)
        write_atomic(path, "".join(line + "\n" for line in kept) if resume_step else "")

    def write(self, row: Mapping[str, Json]) -> None:
        """Append one row; non-finite numbers become null."""
        with self.path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(json_text(row) + "\n")

    def close(self) -> None:
        """Do nothing: every row is on disk."""


class ProgressLine:
    """A progress bar on a terminal; elsewhere one line per 15 seconds."""

    def __init__(self, name: str, total: int, done: int, batch_size: int, *, quiet: bool = False) -> None:
        self.name, self.total, self.start, self.batch_size = name, total, done, batch_size
        self.console = console(stderr=True, quiet=quiet)
        self.live = self.console.is_terminal and not quiet
        self.began = self.spoke = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.bar.add_task(name, total=total, completed=done, rate="", note="")
        self.note = ""

    def __enter__(self) -> ProgressLine:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self.live:
            self.console.print(f"limbeck: {text}", highlight=False, markup=False)
        else:
            say(text)

    def update(self, step: int, note: str | None = None) -> None:
        """Report that ``step`` steps are done."""
        if note is not None:
            self.note = note
        now = time.monotonic()
        rate = (step - self.start) * self.batch_size / max(now - self.began, 1e-9)
        self.bar.update(self.task, completed=step, rate=f"{rate:,.0f} pairs/s", note=self.note)
        if not self.live and (now - self.spoke > 15 or step == self.total):
            self.spoke = now
            left = (self.total - step) * self.batch_size / max(rate, 1e-9)
            self.console.print(
                f"{self.name}: step {step}/{self.total}  {rate:,.0f} pairs/s  {left:.0f} s left  {self.note}",
                highlight=False,
            )
