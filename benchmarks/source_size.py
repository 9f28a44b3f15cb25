"""The size of the source: files, lines, the median and the largest file, lines with ``Any``, tests beside it.

    python benchmarks/source_size.py [--before DIR] [--out docs/results/parts/source-size.json]

DIR is a checkout of an earlier commit. Lines are physical lines of ``.py`` files.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import tokenize
from pathlib import Path
from typing import TypedDict

from limbeck.files import write_json

ROOT = Path(__file__).parents[1]


class Size(TypedDict):
    """Counts of one tree."""

    files: int
    lines: int
    code: int
    docstrings: int
    median: float
    largest: int
    any_lines: int
    test_lines: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/parts/source-size.json")
    options = parser.parse_args()
    trees = {"now": ROOT} | ({} if options.before is None else {"before": options.before})
    sizes = {name: size(tree) for name, tree in trees.items()}
    write_json(options.out, sizes)
    for name, counts in sizes.items():
        print(name, counts)


def size(tree: Path) -> Size:
    """Count the source and the tests of a checkout."""
    files = sorted((tree / "src" / "limbeck").rglob("*.py"))
    lengths = [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
    docstrings = sum(docstring_lines(file) for file in files)
    return {
        "files": len(files),
        "lines": sum(lengths),
        "code": sum(code_lines(file) for file in files) - docstrings,
        "docstrings": docstrings,
        "median": statistics.median(lengths),
        "largest": max(lengths),
        "any_lines": sum(any_lines(file) for file in files),
        "test_lines": sum(
            len(file.read_text(encoding="utf-8").splitlines()) for file in (tree / "tests").rglob("*.py")
        ),
    }


def code_lines(file: Path) -> int:
    """Count the lines that hold a token other than a comment; docstrings count."""
    with file.open("rb") as stream:
        tokens = list(tokenize.tokenize(stream.readline))
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    skipped |= {tokenize.ENCODING, tokenize.ENDMARKER}
    return len({line for t in tokens if t.type not in skipped for line in range(t.start[0], t.end[0] + 1)})


def docstring_lines(file: Path) -> int:
    """Count the lines of all docstrings."""
    count = 0
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                count += (value.end_lineno or value.lineno) - value.lineno + 1
    return count


def any_lines(file: Path) -> int:
    """Count the lines that name ``Any``, imports apart."""
    with file.open("rb") as stream:
        tokens = list(tokenize.tokenize(stream.readline))
    named = {t.start[0] for t in tokens if t.type == tokenize.NAME and t.string == "Any"}
    imported = {t.start[0] for t in tokens if t.type == tokenize.NAME and t.string == "import"}
    return len(named - imported)


if __name__ == "__main__":
    main()
