"""What all tests share: caches of their own, and nothing fetched from the network."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "limbeck-cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
