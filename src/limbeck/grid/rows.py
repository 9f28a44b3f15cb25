"""Rows on file: small JSON files in a folder, or a pack into which such files are merged.

A run that ends writes one small file, whole or not at all, so a grid that is killed loses no row. Where the
rows go to a pack, the files wait in ``OUT/rows`` until the grid ends or is stopped. They are merged then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from limbeck.evaluation.packs import is_pack, read_pack, write_pack
from limbeck.evaluation.results import Result
from limbeck.files import read_json


@dataclass
class RowStore:
    """The rows of a grid.

    Attributes:
        place: a folder, or a pack (`limbeck.evaluation.packs`).
        folder: where small files are written: ``place`` itself unless that is a pack.
    """

    place: Path
    folder: Path
    _packed: dict[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, place: Path | None, out: Path) -> RowStore:
        """Rows at a place, of runs in ``out``; ``OUT/rows`` where no place is given."""
        waiting = out / "rows"
        return cls(place or waiting, waiting if place is None or is_pack(place) else place)

    def file(self, name: str) -> Path:
        """Where the small file of a row or of a tuning log is written."""
        return self.folder / f"{name}.json"

    def where(self, name: str) -> str:
        """The place of a record, for messages."""
        return str(self.file(name)) if self.file(name).is_file() else f"{self.place}: {name}"

    def has(self, name: str) -> bool:
        """Whether a record is on file."""
        return self.file(name).is_file() or name in self._records()

    def read(self, name: str) -> Any:
        """Content of a record; a small file stands before the pack, as it is newer. None without one.

        Raises:
            LimbeckError: the file or the pack is damaged.
        """
        return read_json(self.file(name)) if self.file(name).is_file() else self._records().get(name)

    def load(self, name: str) -> Result:
        """The result of a row that is on file."""
        return Result.parse(self.read(name), self.where(name))

    def merge(self) -> None:
        """Merge the small files into the pack and remove them; nothing where rows lie in a folder.

        The pack is durable before a file is removed, and one grid merges at a time.
        """
        if self.place == self.folder:
            return
        files = {self._name(file): file for file in sorted(self.folder.rglob("*.json"))}
        if not files:
            return
        self.place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.place.with_name(f".{self.place.name}.lock")):
            content = {name: file.read_bytes() for name, file in files.items()}
            found = {name: read_json(file) for name, file in files.items()}
            self._packed = None
            records = self._records()
            if any(records.get(name) != record for name, record in found.items()):
                self._packed = records | found
                write_pack(self.place, self._packed)
            for name, file in files.items():
                if file.read_bytes() == content[name]:  # another grid may have gone on with a tuning log
                    file.unlink()

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).with_suffix("").as_posix()

    def _records(self) -> dict[str, Any]:
        if self._packed is None:
            self._packed = read_pack(self.place) if is_pack(self.place) and self.place.is_file() else {}
        return self._packed


def row_name(
    name: str, protocol: str | None = None, bits: int | None = None, exact_words: bool = False
) -> str:
    """Name of a row: of a run, by a further protocol, by its first bits, or by the exact-words control."""
    tail = (f"@{protocol.replace('/', '-')}" if protocol else "") + (f"-{bits}bits" if bits else "")
    return f"{name}{tail}{'-exact-words' if exact_words else ''}"


def further_rows(name: str, bits: Sequence[int], exact_words: bool) -> list[str]:
    """Names of the rows beside a run's own by the same protocol."""
    control = [row_name(name, exact_words=True)] if exact_words else []
    return [row_name(name, bits=own) for own in bits] + control
