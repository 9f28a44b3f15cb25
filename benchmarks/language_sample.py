"""Draw 100 strings of the project for a reader to judge: is each one plain, and correct?

    python benchmarks/language_sample.py --seed 1926
    python benchmarks/language_sample.py --seed 1926 --verdicts FILE

FILE maps the place of every drawn string to a reason why it fails, empty where it is plain and correct.
A list with verdicts is never drawn again. Plain means: a stranger to the project understands the string when
it is read once, and every sentence has a verb. A noun phrase may name a module, a class, a property or the
value of an option. Correct means: right grammar, and true of the code beside it.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from limbeck.files import write_json

ROOT = Path(__file__).parents[1]
EACH = 25
NOT_PROSE = re.compile(r"```(?s:.*?)```|^(?:[#|<]| {4}|!\[).*$|^\[.*?\]:.*$", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.?!])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z`*\[])")


class String(TypedDict):
    kind: str
    place: str
    text: str
    verdict: str | None
    reason: str


class Sample(TypedDict):
    seed: int
    commit: str
    population: dict[str, int]
    plain_and_correct: int | None
    strings: list[String]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--verdicts", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/parts/language.json")
    options = parser.parse_args()
    samples: list[Sample] = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else []
    known = next((sample for sample in samples if sample["seed"] == options.seed), None)
    if options.verdicts:
        if known is None:
            parser.error(f"seed {options.seed} is not drawn yet")
        merge(known, json.loads(options.verdicts.read_text("utf-8")))
    else:
        if known and known["plain_and_correct"] is not None:
            parser.error(f"seed {options.seed} has its verdicts already")
        samples = [sample for sample in samples if sample is not known] + [draw(options.seed)]
    write_json(options.out, samples)


def draw(seed: int) -> Sample:
    """Draw as many strings of each kind, in a fixed order for a seed and a commit."""
    population: dict[str, list[tuple[str, str]]] = {"docstring": [], "help": [], "message": [], "docs": []}
    for file in sorted((ROOT / "src").rglob("*.py")):
        for kind, line, text in source_strings(ast.parse(file.read_text("utf-8"))):
            population[kind].append((f"{file.relative_to(ROOT)}:{line}", text))
    folders = ("docs", "docs/tutorials", "docs/papers")
    for page in [
        ROOT / "README.md",
        *(page for name in folders for page in sorted((ROOT / name).glob("*.md"))),
    ]:
        for line, text in sentences(page.read_text("utf-8")):
            population["docs"].append((f"{page.relative_to(ROOT)}:{line}", text))
    chance = random.Random(seed)
    strings = [
        String(kind=kind, place=place, text=text, verdict=None, reason="")
        for kind, found in population.items()
        for place, text in chance.sample(found, EACH)
    ]
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    sizes = {kind: len(found) for kind, found in population.items()}
    return Sample(seed=seed, commit=commit, population=sizes, plain_and_correct=None, strings=strings)


def source_strings(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Kind, line and text of every docstring, help text and message; ``{…}`` stands for a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                command = any("command" in ast.unparse(mark) for mark in getattr(node, "decorator_list", []))
                yield "help" if command else "docstring", node.body[0].lineno, text
        elif isinstance(node, ast.Call):
            helps = [word.value for word in node.keywords if word.arg == "help"]
            name = ast.unparse(node.func).rpartition(".")[2]
            speaks = name in ("warn", "echo", "BadParameter") or name.endswith("Error")
            messages = node.args[:1] if speaks else []
            for kind, values in (("help", helps), ("message", messages)):
                yield from ((kind, value.lineno, said) for value in values if " " in (said := prose(value)))


def prose(value: ast.expr) -> str:
    """The text of a literal, an f-string or their sum; anything else has none."""
    if isinstance(value, ast.Constant):
        return value.value if isinstance(value.value, str) else ""
    if isinstance(value, ast.JoinedStr):
        return "".join(prose(part) for part in value.values)
    if isinstance(value, ast.FormattedValue):
        return f"{{{ast.unparse(value.value)}}}"
    return prose(value.left) + prose(value.right) if isinstance(value, ast.BinOp) else ""


def sentences(page: str) -> Iterator[tuple[int, str]]:
    """Line and text of every sentence outside code, tables, headings and pictures."""
    text = NOT_PROSE.sub(lambda found: re.sub(r"[^\n]", "", found[0]), page)
    for block in re.finditer(r"(?:.+\n?)+?(?=\n|\Z|[ ]*(?:[-*]|\d+\.) )", text):
        start = block.start()
        for said in SENTENCE_END.split(block[0]):
            start = page.find(said, start) if said in page[start:] else start
            plain = " ".join(re.sub(r"^\s*(?:[-*>]|\d+\.)\s+", "", said).split())
            if len(plain.split()) > 2:
                yield page.count("\n", 0, start) + 1, plain
            start += len(said)


def merge(sample: Sample, reasons: dict[str, str]) -> None:
    """Write a verdict by every string."""
    for string in sample["strings"]:
        string["reason"] = reasons[string["place"]]
        string["verdict"] = "fails" if string["reason"] else "plain and correct"
    if unknown := reasons.keys() - {string["place"] for string in sample["strings"]}:
        raise SystemExit(f"not in the sample: {', '.join(sorted(unknown))}")
    sample["plain_and_correct"] = sum(not string["reason"] for string in sample["strings"])


if __name__ == "__main__":
    main()
