"""Which files of one's own a run began with: noted at the start, compared when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from limbeck.files import read_json, write_json
from limbeck.plugins import code_digest, own_name
from limbeck.training.own_parts import own_parts
from limbeck.training.recipe import Recipe

CODE = "code.json"


def code_of(recipe: Recipe) -> dict[str, str]:
    """SHA-256 by file of the classes ``FILE.py:CLASS`` of a recipe, the file as the recipe names it."""
    names = [stage.method["name"] for stage in recipe.stages]
    names += [own.kind for stage in recipe.stages for own in own_parts(stage).values()]
    found = [own for name in names if (own := own_name(name)) is not None]
    return {str(own.file): code_digest(own.file) for own in found}


def note_code(run: Path, recipe: Recipe) -> None:
    """Write down what a run begins with, unless that stands there or there is none."""
    found = code_of(recipe)
    if found and not (run / CODE).exists():
        write_json(run / CODE, found)


def compare_code(run: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Say which files are other ones than when the run began; it goes on with them as they are now."""
    now = code_of(recipe)
    before = read_json(run / CODE) if now and (run / CODE).is_file() else {}
    for file, digest in now.items():
        if file not in before:
            say(f"{run}: holds no record of {file}; a change since it began goes unnoticed")
        elif before[file] != digest:
            say(
                f"{file}: changed since {run} began (SHA-256 {before[file][:16]}, now {digest[:16]}); "
                "going on with the file as it is now"
            )
