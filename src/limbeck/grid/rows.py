"""Store rows as small JSON files in a folder, or in a pack into which such files are merged.

A run that ends writes one small file atomically, so a grid that is killed loses no row. If the rows go to a
pack, the files stay in ``OUT/rows`` until the grid ends or is stopped, and are merged then.
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
from limbeck.typed import Json


@dataclass
class RowStore:
    """The store of a grid's rows.

    Attributes:
        place: a folder, or a pack (`limbeck.evaluation.packs`).
        folder: folder of the small files; it is ``place`` unless that is a pack.
    """

    place: Path
    folder: Path
    _packed: dict[str, Json] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, place: Path | None, out: Path) -> RowStore:
        """Open the rows at ``place``, by default ``OUT/rows``, for runs in ``out``."""
        waiting = out / "rows"
        return cls(place or waiting, waiting if place is None or is_pack(place) else place)

    def file(self, name: str) -> Path:
        """Return the path of the small file of a row or of a tuning log."""
        return self.folder / f"{name}.json"

    def where(self, name: str) -> str:
        """Return the location of a record, for messages."""
        return str(self.file(name)) if self.file(name).is_file() else f"{self.place}: {name}"

    def has(self, name: str) -> bool:
        """Return whether a record is stored."""
        return self.file(name).is_file() or name in self._records()

    def read(self, name: str) -> Any:
        """Return the content of a record, or None; a small file is newer than the pack and has precedence.

        Raises:
            LimbeckError: the file or the pack is damaged.
        """
        return read_json(self.file(name)) if self.file(name).is_file() else self._records().get(name)

    def load(self, name: str) -> Result:
        """Return the result of a stored row."""
        return Result.parse(self.read(name), self.where(name))

    def merge(self) -> None:
        """Merge the small files into the pack and remove them; do nothing if the rows are in a folder.

        The pack is durable before a file is removed. A lock allows one grid to merge at a time.
        """
        if self.place == self.folder:
            return
        files = {self._name(file): file for file in sorted(self.folder.rglob("*.json"))}
        if not files:
            return
        self.place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.place.with_name(f".{self.place.name}.lock")):
            content = {name: file.read_bytes() for name, file in files.items()}
            new = {name: read_json(file) for name, file in files.items()}
            self._packed = None
            records = self._records()
            if any(records.get(name) != record for name, record in new.items()):
                self._packed = records | new
                write_pack(self.place, self._packed)
            for name, file in files.items():
                if file.read_bytes() == content[name]:  # another grid may have extended a tuning log
                    file.unlink()

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).with_suffix("").as_posix()

    def _records(self) -> dict[str, Json]:
        if self._packed is None:
            self._packed = read_pack(self.place) if is_pack(self.place) and self.place.is_file() else {}
        return self._packed


def row_name(
    name: str, protocol: str | None = None, bits: int | None = None, exact_words: bool = False
) -> str:
    """Return the name of a row: of a run, another protocol, its first bits, or the exact-words control."""
    tail = (f"@{protocol.replace('/', '-')}" if protocol else "") + (f"-{bits}bits" if bits else "")
    return f"{name}{tail}{'-exact-words' if exact_words else ''}"


def further_rows(name: str, bits: Sequence[int], exact_words: bool) -> list[str]:
    """Return the names of the additional rows of a run by the same protocol."""
    control = [row_name(name, exact_words=True)] if exact_words else []
    return [row_name(name, bits=length) for length in bits] + control
