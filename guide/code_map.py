"""The code map: every package and module with the first sentence of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"


def page() -> str:
    """Return the page, in Markdown."""
    root = SOURCE / "limbeck"
    folders = [root, *sorted(file.parent for file in root.rglob("__init__.py") if file.parent != root)]
    parts = [
        "# Code map\n",
        "This page is made from the docstrings in `src/limbeck`. "
        "[Architecture](architecture.md) shows which package imports which; "
        "[design](design.md) gives the reasons.\n",
        *(_section(folder) for folder in folders),
    ]
    return "\n".join(parts)


def _section(folder: Path) -> str:
    name = ".".join(folder.relative_to(SOURCE).parts)
    modules = sorted(file for file in folder.glob("*.py") if file.stem not in ("__init__", "__main__"))
    rows = [f"| `{file.stem}` | {summary(file)} |" for file in modules]
    table = ["| module | what it does |", "|:--|:--|", *rows, ""] if rows else []
    return "\n".join([f"## {name}\n", summary(folder / "__init__.py") + "\n", *table])


def summary(file: Path) -> str:
    """Return the first paragraph of a module's docstring on one line, as Markdown."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    words = " ".join(text.split("\n\n")[0].split())
    return words.replace("``", "`").replace("|", "\\|").replace("<", "&lt;")
