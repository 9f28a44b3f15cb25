"""Record the user's code files that a run began with, and compare them when the run resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from limbeck.files import read_json, write_json
from limbeck.plugins import code_digest, own_name
from limbeck.training.own_parts import own_parts
from limbeck.training.recipe import Recipe

CODE = "code.json"


def code_of(recipe: Recipe) -> dict[str, str]:
    """Return the SHA-256 per file of a recipe's classes ``FILE.py:CLASS``, by the recipe's file name."""
    names = [stage.method["name"] for stage in recipe.stages.values()]
    names += [part.kind for stage in recipe.stages.values() for part in own_parts(stage).values()]
    classes = [name for text in names if (name := own_name(text)) is not None]
    return {str(name.file): code_digest(name.file) for name in classes}


def note_code(run: Path, recipe: Recipe) -> None:
    """Write the digests of the code that a run begins with, unless they exist or there is no such code."""
    digests = code_of(recipe)
    if digests and not (run / CODE).exists():
        write_json(run / CODE, digests)


def compare_code(run: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Report the code files that changed since the run began; the run continues with the current ones."""
    now = code_of(recipe)
    before = read_json(run / CODE) if now and (run / CODE).is_file() else {}
    for file, digest in now.items():
        if file not in before:
            say(f"{run}: holds no record of {file}; a change since the run began cannot be detected")
        elif before[file] != digest:
            say(
                f"{file}: changed since {run} began (SHA-256 {before[file][:16]}, now {digest[:16]}); "
                "continuing with the current file"
            )
