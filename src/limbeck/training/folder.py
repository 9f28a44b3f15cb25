"""The directory of a run: recognise it, lock it for one writer, and undo a refused command."""

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
    """Return whether a directory is a run, finished or not; a ``recipe.yaml`` alone does not make one."""
    return (folder / RECIPE).is_file() and ((folder / STAGES).is_dir() or (folder / "run.json").is_file())


def is_free(folder: Path) -> bool:
    """Return whether a run may begin there: nothing exists, or only remains of a training killed early."""
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
        fresh: whether the directory held no run before.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.fresh = path, not is_run(path)
        files = [] if self.fresh else [path / name for name in _BEGUN]
        self._before = {file: file.read_bytes() for file in files if file.is_file()}
        self._marks = self._standing()

    @classmethod
    @contextlib.contextmanager
    def claim(cls, path: Path) -> Iterator[RunFolder]:
        """Create the directory if needed and hold its lock; the system frees the lock when the process dies.

        Raises:
            LimbeckError: another process trains there (the message names it), or the directory exists and is
                not a run.
        """
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        if path.exists() and not is_run(path) and not is_free(path):
            raise LimbeckError(f"{path}: exists and is not a run; choose another --out", code="E-PATH-EXISTS")
        locked_before = (path / LOCK_NAME).exists()
        try:
            with writer_lock(path, timeout=0):
                try:
                    # Another process may have written between the first check and the lock.
                    if not is_run(path) and not is_free(path):
                        raise LimbeckError(
                            f"{path}: exists and is not a run; choose another --out", code="E-PATH-EXISTS"
                        )
                    yield cls(path)
                finally:
                    if not locked_before and not is_run(path):
                        with contextlib.suppress(OSError):  # Windows keeps an open file
                            (path / LOCK_NAME).unlink()
        finally:
            for folder in made:  # rmdir removes only empty folders
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def begin(self, recipe: str, contents: Contents) -> None:
        """Write the recipe and the record of the data, unless the same is already there."""
        (self.path / STAGES).mkdir(exist_ok=True)
        if Contents.load(self.path) != contents:
            contents.save(self.path)
        if self._before.get(self.path / RECIPE) != recipe.encode():
            write_atomic(self.path / RECIPE, recipe)

    def take_back(self) -> None:
        """Undo a refused command: remove what it wrote, and restore the files that were there before.

        A run that has logged a step, or saved a state or a batch with a non-finite loss, is kept.
        """
        if self.fresh:
            logged = any(file.stat().st_size for file in self.path.glob(f"{STAGES}/*/metrics.jsonl"))
            kept = [*self.path.glob(f"{STAGES}/*/not-finite-*"), *self.path.glob(f"{STAGES}/*/state-*")]
            if not logged and not kept:
                shutil.rmtree(self.path / STAGES, ignore_errors=True)
                for name in _BEGUN:
                    (self.path / name).unlink(missing_ok=True)
        elif self._standing() == self._marks:
            for file, content in self._before.items():
                if file.read_bytes() != content:
                    write_atomic(file, content)

    def _standing(self) -> list[str]:
        """Return the checkpoints and finished stages, which show whether a run has progressed."""
        entries = [*self.path.glob(f"{STAGES}/*/state-*"), *self.path.glob(f"{STAGES}/*/done.json")]
        return sorted(str(entry) for entry in entries)
