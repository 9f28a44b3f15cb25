"""Benchmarks and tests import only what limbeck has; the fast tests run few of their scripts otherwise."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def missing(file: Path, root: Path = ROOT) -> list[str]:
    """Names that a file imports from limbeck and that are not there."""
    absent = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "limbeck":
            for alias in node.names:
                try:
                    module = importlib.import_module(str(node.module))
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
                except ModuleNotFoundError as cause:
                    if (cause.name or "").split(".")[0] != "limbeck":
                        continue  # an extra that is not installed
                    absent.append(f"{file.relative_to(root)}:{node.lineno} {node.module}.{alias.name}")
    return absent


@pytest.mark.parametrize("folder", ["benchmarks", "tests", "results", "guide"])
def test_what_is_imported_exists(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert [place for file in files for place in missing(file)] == []


def test_a_missing_name_is_found(tmp_path: Path) -> None:
    source = tmp_path / "some.py"
    source.write_text("from limbeck.nowhere import x\nfrom limbeck.errors import LimbeckError, nothing\n")
    assert missing(source, tmp_path) == ["some.py:1 limbeck.nowhere.x", "some.py:2 limbeck.errors.nothing"]
