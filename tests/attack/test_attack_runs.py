"""A handful of the kills of benchmarks/attack_runs.py: nothing is lost, weights are those of a quiet run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.files import read_json

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/attack_runs.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="victims are forked")
def test_a_handful_of_kills(tmp_path: Path) -> None:
    """In a process of its own: a test's threads must not be forked."""
    out = tmp_path / "counts.json"
    command = [sys.executable, str(SCRIPT), "--train", "3", "--grid", "3", "--jobs", "0", "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_json(out)
    assert found["faults"] == []
    assert found["kills"] == {"train": 3, "grid": 3}
    assert found["runs_compared"] >= 7
