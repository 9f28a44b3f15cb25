"""Warn once per fault while a stage trains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from limbeck.training.symptoms import LIVE, Log, Row

FEWEST, SEEN = 10, 25
"""Logged rows before the first warning, and the newest rows that the rules see."""


class Watch:
    """The newest logged rows of a stage, and the warnings that were given."""

    def __init__(self, log: Log, total: int, warn: Callable[[str], None]) -> None:
        """Begin with a log without rows, for a stage of ``total`` steps; ``warn`` receives each warning."""
        self.log, self.warn, self.start = log, warn, total // 4  # what begins badly may mend in the warm-up
        self.rows: deque[Row] = deque(maxlen=SEEN)
        self.told: set[str] = set()

    def see(self, row: Row) -> None:
        """Take a logged row, and warn of each new fault; the text says what to change."""
        self.rows.append(row)
        if len(self.rows) < FEWEST or (row["step"] or 0) < self.start:
            return
        log = replace(self.log, rows=list(self.rows))
        found = [finding for rule in LIVE for finding in rule(log)]
        for finding in sorted(found, key=lambda one: -one.certainty):
            if finding.cause not in self.told:
                self.told.add(finding.cause)
                self.warn(f"stage {log.stage}, step {row['step']}: {finding.line}")
