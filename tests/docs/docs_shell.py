"""Runs the blocks of a page: `limbeck` in this process, its service in a thread, curl against it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from docs_made import call
from docs_markdown import ROOT, Block

from limbeck.errors import LimbeckError
from limbeck.grid import tasks
from limbeck.training import recipe as recipes
from limbeck.training import run as training

INSTALLS = ("pip install",)  # what these lines name is checked by test_docs.py
LONGEST = 40  # steps that a page may ask for
_LOOP = re.compile(r"for (\w+) in (.+); do")


def short(recipe: recipes.Recipe) -> recipes.Recipe:
    """The recipe with two small steps for each longer stage: what is tested is that it runs."""
    stages = {}
    for name, stage in recipe.stages.items():
        plan = stage.schedule
        if plan.steps is None or plan.steps > LONGEST:
            size = {"batch_size": min(plan.batch_size, 16), "chunk": None, "validate_every": None}
            stage = stage.model_copy(
                update={"schedule": plan.model_copy(update={"steps": 2, "epochs": None} | size)}
            )
        stages[name] = stage
    compute = recipe.compute.model_copy(update={"threads": 1})
    return recipe.model_copy(update={"stages": stages, "compute": compute})


def lines(block: Block) -> Iterator[list[str]]:
    """The commands of a shell block as words, with loops, `~` and patterns expanded when they are reached."""
    shown = [line for line in block.lines if line.startswith("$ ")] or block.lines  # the rest is output
    todo = [line.removeprefix("$ ").removeprefix(".venv/bin/") for line in shown]
    while todo:
        line = todo.pop(0)
        if loop := _LOOP.fullmatch(line):
            end = todo.index("done")
            name, values = loop[1], shlex.split(loop[2])
            body = todo[:end]
            todo[: end + 1] = [part.replace(f"${name}", value) for value in values for part in body]
        elif words := shlex.split(line, comments=True):
            yield [found for word in words for found in expanded(word)]


def expanded(word: str) -> Sequence[str]:
    """A word as a shell expands it, where it is a path."""
    word = str(Path(word).expanduser()) if word.startswith("~/") else word
    return sorted(map(str, Path().glob(word))) or [word] if "*" in word else [word]


class Page:
    """The folder of a page while its blocks run, with the service that it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port: int | None = None
        self._open = ExitStack()

    def __enter__(self) -> Page:
        patch = self._open.enter_context(pytest.MonkeyPatch.context())
        patch.chdir(self.folder)
        patch.setenv("HOME", str(self.folder))
        for module in (recipes, training, tasks):
            patch.setattr(
                module, "load_recipe", lambda *a, _load=module.load_recipe, **k: short(_load(*a, **k))
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def run(self, block: Block) -> None:
        """Run one block; what a file block holds is written."""
        if block.file is not None:
            Path(block.file).write_text(block.body, encoding="utf-8")
        elif block.language == "python":
            exec(compile(self._here(block.body), str(block), "exec"), {"__name__": "docs"})
        elif block.language != "yaml":  # a YAML block without a name is read by test_docs.py
            for words in lines(block):
                self._command(words)

    def _command(self, words: list[str]) -> None:
        if words[:2] == ["limbeck", "serve"]:
            self._serve(words[1:])
        elif words[0] == "limbeck":
            try:
                call(*words[1:])
            except LimbeckError as error:
                raise LimbeckError(f"{shlex.join(words)}: {error}", code=error.code) from error
        elif words[:3] == ["python", "-m", "results"]:
            subprocess.run([sys.executable, *words[1:]], cwd=ROOT, check=True, timeout=120)
        elif words[0] == "curl":
            subprocess.run(["curl", "-sS", "--fail", *map(self._here, words[1:])], check=True, timeout=60)
        elif not shlex.join(words).startswith(INSTALLS):
            raise AssertionError(
                f"nothing runs {shlex.join(words)}; give the block a reason, or teach docs_shell.py"
            )

    def _serve(self, words: list[str]) -> None:
        """Start the service as the command line sets it up, on a free port, until the page ends."""
        from limbeck.serve import run
        from serve.live import live

        def start(indexes: Sequence[Path], settings: Any, **_: object) -> None:
            self.port = self._open.enter_context(live(indexes, settings.guard, settings.root_path))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "serve", start)
            call(*words)

    def _here(self, text: str) -> str:
        """Text in which the address of the service is the one it has."""
        return re.sub(r"(127\.0\.0\.1|localhost):8000", rf"\1:{self.port}", text) if self.port else text
