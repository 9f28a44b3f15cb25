"""The directory of a run: whether it is one, who writes to it, and what a refused command takes back."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from limbeck.data.contents import FILE as CONTENTS
from limbeck.data.contents import PICTURES, Contents
from limbeck.errors import LimbeckError
from limbeck.files import write_atomic
from limbeck.index.lock import HOLDER_NAME, LOCK_NAME, writer_lock
from limbeck.training.code import CODE

RECIPE, STAGES = "recipe.yaml", "stages"
_BEGUN = (RECIPE, CONTENTS, PICTURES, CODE)


def is_run(folder: Path) -> bool:
    """Whether a directory is a run, finished or not: a recipe alone may be anybody's file."""
    return (folder / RECIPE).is_file() and ((folder / STAGES).is_dir() or (folder / "run.json").is_file())


def is_free(folder: Path) -> bool:
    """Whether a run may begin there: nothing, or no more than a training killed at its start leaves."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    for entry in folder.iterdir():
        empty_stages = entry.name == STAGES and entry.is_dir() and not any(entry.iterdir())
        if not empty_stages and entry.name not in (LOCK_NAME, HOLDER_NAME, CONTENTS, PICTURES):
            return False
    return True


class RunFolder:
    """A run directory that this process alone writes to.

    Attributes:
        path: the directory.
        fresh: no run stood there before.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.fresh = path, not is_run(path)
        files = [] if self.fresh else [path / name for name in _BEGUN]
        self._before = {file: file.read_bytes() for file in files if file.is_file()}
        self._marks = self._standing()

    @classmethod
    @contextlib.contextmanager
    def claim(cls, path: Path) -> Iterator[RunFolder]:
        """Make the directory if need be and hold its lock; the system frees it when the process dies.

        Raises:
            LimbeckError: another process trains there (it is named); something else than a run stands there.
        """
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        if path.exists() and not is_run(path) and not is_free(path):
            raise LimbeckError(f"{path}: exists and is not a run; choose another --out")
        locked_before = (path / LOCK_NAME).exists()
        try:
            with writer_lock(path, timeout=0):
                try:
                    # What another process wrote between the first look and the lock counts.
                    if not is_run(path) and not is_free(path):
                        raise LimbeckError(f"{path}: exists and is not a run; choose another --out")
                    yield cls(path)
                finally:
                    if not locked_before and not is_run(path):
                        with contextlib.suppress(OSError):  # an open file stays on Windows
                            (path / LOCK_NAME).unlink()
        finally:
            for folder in made:  # none but empty ones go
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def begin(self, recipe: str, contents: Contents) -> None:
        """Write the recipe and what the data held; what stands there already is left alone."""
        (self.path / STAGES).mkdir(exist_ok=True)
        if Contents.load(self.path) != contents:
            contents.save(self.path)
        if self._before.get(self.path / RECIPE) != recipe.encode():
            write_atomic(self.path / RECIPE, recipe)

    def take_back(self) -> None:
        """After a command that was refused: what it wrote goes, what stood there before stays.

        A run that has logged a step, or kept the batch that the guard stopped at, is no refused command.
        """
        if self.fresh:
            logged = any(file.stat().st_size for file in self.path.glob(f"{STAGES}/*/metrics.jsonl"))
            if not logged and not any(self.path.glob(f"{STAGES}/*/not-finite-*")):
                shutil.rmtree(self.path / STAGES, ignore_errors=True)
                for name in _BEGUN:
                    (self.path / name).unlink(missing_ok=True)
        elif self._standing() == self._marks:
            for file, content in self._before.items():
                if file.read_bytes() != content:
                    write_atomic(file, content)

    def _standing(self) -> list[str]:
        """States and finished stages: what grows as a run goes on."""
        found = [*self.path.glob(f"{STAGES}/*/state-*"), *self.path.glob(f"{STAGES}/*/done.json")]
        return sorted(str(entry) for entry in found)
