"""The command line: one small file per verb, without logic of its own."""

from __future__ import annotations

from limbeck.cli.app import main

__all__ = ["main"]
