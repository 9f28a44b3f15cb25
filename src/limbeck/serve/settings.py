"""Defines the settings of a service."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from limbeck.serve.guard import Guard


@dataclass(frozen=True)
class Settings:
    """Says how a service answers.

    Attributes:
        media: the folder or zip of the pictures; by default the one that each index records.
        guard: what the service allows.
        root_path: the prefix under which a proxy offers the service, such as ``/pictures``.
        batch: the largest number of queries per pass over an index; 1 answers one by one.
        wait_ms: how long an idle service collects queries before it answers them.
        cache_bytes: the largest size of all stored answers.
        reload_seconds: the time between two looks for a new generation of an index.
        drain_seconds: the longest time for the accepted requests after SIGTERM.
    """

    media: Path | None = None
    guard: Guard = field(default_factory=Guard)
    root_path: str = ""
    batch: int = 64
    wait_ms: float = 1.0
    cache_bytes: int = 1 << 26
    reload_seconds: float = 1.0
    drain_seconds: float = 10.0
