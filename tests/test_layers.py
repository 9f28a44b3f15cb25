"""Rules of the architecture (docs/design.md): what no method, space or lift asks another for."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "limbeck"
PACKAGES = ("spaces", "encoders/lifts", "methods")


def classes_of(package: str) -> set[str]:
    """Spaces, lifts or methods of a package: classes that extend another, but for settings and outputs."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (SOURCE / package).rglob("*.py")]
    found = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]
    return {node.name for node in found if not node.name.endswith(("Config", "Outputs"))}


def asked_by(file: Path) -> list[tuple[int, set[str]]]:
    """Lines that call `isinstance`, with the names they ask for."""
    calls = [
        node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    return [
        (call.lineno, {n.id for n in ast.walk(call.args[1]) if isinstance(n, ast.Name)})
        for call in calls
        if getattr(call.func, "id", "") == "isinstance"
    ]


def test_nothing_outside_its_package_asks_for_the_class_of_a_method_space_or_lift() -> None:
    own = {package: classes_of(package) for package in PACKAGES}
    assert all(own.values())
    found = [
        f"{file.relative_to(SOURCE)}:{line} {sorted(asked & names)}"
        for file in sorted(SOURCE.rglob("*.py"))
        for line, asked in asked_by(file)
        for package, names in own.items()
        if asked & names and not file.is_relative_to(SOURCE / package)
    ]
    assert found == []
