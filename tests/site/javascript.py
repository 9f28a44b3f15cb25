"""Runs the engine of a site in node, where that is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.site.page import ENGINE, SCRIPTS

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None, reason="node is not installed; tests/browser runs the engine too"
)
_LOAD = """
const fs = require("node:fs"), vm = require("node:vm");
const load = (file) => vm.runInThisContext(fs.readFileSync(file, "utf8"), file);
const given = JSON.parse(fs.readFileSync(0, "utf8"));
given.files.forEach(load);
const site = globalThis.limbeck?.site;
Promise.resolve((async (value) => {%s})(given.value)).then(
  (answer) => process.stdout.write(JSON.stringify(answer)),
  (error) => { console.error(error.stack); process.exit(1); });
"""


def run_js(code: str, value: Any, files: Sequence[Path] | None = None) -> Any:
    """Call ``code`` with ``value`` and the engine as ``site``; returns its JSON answer."""
    assert NODE
    loaded = [str(file) for file in files or [ENGINE / name for name in SCRIPTS]]
    given = json.dumps({"files": loaded, "value": value})
    done = subprocess.run(
        [NODE, "-e", _LOAD % code], input=given, capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def floats(values: Any) -> np.ndarray:
    """An array of numbers that came as JSON, where not-a-number is null."""
    return np.array([np.nan if value is None else value for value in values], np.float64)
