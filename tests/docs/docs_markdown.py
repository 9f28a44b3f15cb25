"""Fenced blocks and links of the Markdown pages."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_OUTSIDE = ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY", "results/README", "benchmarks/hamming/README")
PAGES = [*(ROOT / f"{name}.md" for name in _OUTSIDE), *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>(?:run|not run|file|extra)\b[^>]*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LANGUAGES = ("console", "bash", "sh", "python", "yaml")
_PROGRAM = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?limbeck\s+(.*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    ``file`` is the name its text is kept under, ``extra`` what it needs installed beside the package,
    ``reason`` why it is not run.
    """

    page: Path
    line: int
    language: str
    body: str
    file: str | None
    extra: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def run(self) -> bool:
        """Whether the tests execute it."""
        return self.language in LANGUAGES and self.reason is None

    @property
    def lines(self) -> list[str]:
        """Lines of a shell block, those ended by a backslash joined with the next."""
        return [line.strip() for line in self.body.replace("\\\n", " ").splitlines() if line.strip()]

    @property
    def commands(self) -> list[list[str]]:
        """Arguments of each ``limbeck`` command of a shell block."""
        found = (_PROGRAM.match(line) for line in self.lines)
        return [shlex.split(match[1], comments=True) for match in found if match]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        mark = match["mark"]
        reason = re.match(r"not run: (.+)", mark or "")
        file, extra = (
            None if reason else re.search(rf"{key}: (\S+)", mark or "") for key in ("file", "extra")
        )
        line = text.count("\n", 0, match.start()) + 1
        found.append(
            Block(
                page,
                line,
                match["language"],
                match["body"],
                file and file[1],
                extra and extra[1],
                reason and reason[1],
            )
        )
    return found


def links(page: Path) -> list[str]:
    """Targets of the links and images of a page that lie in the repository."""
    prose = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [target for target in _LINK.findall(prose) if not re.match(r"[a-z]+:|#", target)]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings as the built site makes them: it joins dashes that GitHub keeps apart."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = [re.sub(r"[^\w\s-]", "", head.lower()) for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[-\s]+", "-", head.strip()) for head in heads}
