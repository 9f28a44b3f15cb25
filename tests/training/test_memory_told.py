"""Peak memory where the system does not tell it."""

from __future__ import annotations

import sys
from pathlib import Path

from limbeck.training import cost as efficiency


def test_memory_is_not_told_without_the_module_resource(monkeypatch):
    """Windows has neither that module nor /proc."""
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "")
    assert not hasattr(efficiency, "resource") and efficiency.peak_memory() is None
