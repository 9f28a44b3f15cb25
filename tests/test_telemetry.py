"""Nothing reports to others: ONNX Runtime is told so before it is imported, and an own setting counts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("own", "expected"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_reports_are_off_unless_the_user_wants_them(own: dict[str, str], expected: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    code = "import sys, os, limbeck; print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=plain | own, capture_output=True, text=True)
    assert done.stdout.split() == [expected, "False"]
