"""The command line: one small file a verb, no logic."""

from __future__ import annotations

from limbeck.cli.app import main

__all__ = ["main"]
