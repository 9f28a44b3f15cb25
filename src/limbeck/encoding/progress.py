"""Shows the progress bar of an encoding or another long step."""

from __future__ import annotations

from collections.abc import Callable


class EncodingBar:
    """Shows a progress bar on standard error if wanted; its context is a function that adds items."""

    def __init__(self, shown: bool, total: int, done: int = 0, *, label: str = "encoding") -> None:
        self._shown, self._total, self._done, self._label = shown, total, done, label

    def __enter__(self) -> Callable[[int], None]:
        if not self._shown:
            return lambda count: None
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from limbeck.console import console

        self._progress = Progress(
            TextColumn(self._label),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console(stderr=True),
        )
        self._progress.start()
        task = self._progress.add_task(self._label, total=self._total, completed=self._done, rate="")

        def advance(count: int) -> None:
            self._progress.advance(task, count)
            state = self._progress.tasks[0]
            speed = state.speed or count / max(
                state.elapsed or 0, 1e-3
            )  # rich has no speed yet after the first batch
            self._progress.update(task, rate=f"{speed:,.0f} items/s")

        return advance

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()
