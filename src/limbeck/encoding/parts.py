"""An encoding under way: what is done lies in ``OUT.part``, and the same command goes on after it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.files import Kind, json_text, read_json, remove_leftovers, remove_tree, write_atomic, write_json
from limbeck.index.encoded import ENCODED, Encoded, EncodedMeta, write_encoded
from limbeck.index.lock import HOLDER_NAME, LOCK_NAME, writer_lock
from limbeck.pictures import Reason
from limbeck.tables import split_lines

FORMAT = "limbeck.encoding/1"
PROGRESS = "progress.json"
# A killed one may leave what stood aside: `.000001.<hex>.tmp`.
_FILES = (
    rf"{LOCK_NAME}|{HOLDER_NAME}|{re.escape(PROGRESS)}|\d{{6}}\.jsonl|\..*\.[0-9a-f]{{8}}\.(tmp|old)(/.*)?"
    rf"|\d{{6}}/({ENCODED.files})"
)
_BARE = Kind("unfinished encoding", _FILES)
STARTED = Kind("unfinished encoding", _FILES, PROGRESS, lambda value: value.get("format") == FORMAT)
PART_ITEMS, PART_SECONDS = 4096, 20.0  # a part is closed after so many items, or so long


class Parts:
    """The parts of an encoding: encoded sets of their own, and lists of what could not be read.

    A part counts from the moment that ``progress.json`` names it. What was in none yet is encoded again.

    Attributes:
        folder: ``OUT.part``.
        seen: rows of the source that are done, readable or not.
        rows: points among them.
        skipped: the others, as `read_skipped` gives them.
    """

    def __init__(self, folder: Path, meta: EncodedMeta) -> None:
        self.folder, self._meta = folder, meta
        self.seen = self.rows = 0
        self.skipped: list[dict[str, str]] = []
        self._progress: dict[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self._points: list[np.ndarray] = []
        self._items: list[pa.Table] = []
        self._held, self._skips, self._since = 0, len(self.skipped), time.monotonic()

    @classmethod
    @contextlib.contextmanager
    def open(cls, out: Path, meta: EncodedMeta, about: dict[str, Any]) -> Iterator[Parts]:
        """Begin, or go on with what is there if it is ``about`` the same; on an error what is done is kept.

        Raises:
            LimbeckError: an unfinished encoding of something else, another process that is at it, disk full.
        """
        folder = out.with_name(out.name + ".part")
        _require_ours(folder)
        parts = cls(folder, meta)
        with writer_lock(folder, timeout=1.0):
            parts._resume(about)
            try:
                yield parts
            except (LimbeckError, KeyboardInterrupt) as error:
                with contextlib.suppress(LimbeckError):
                    parts.flush()
                kept = sum(part["rows"] for part in parts._progress["parts"])
                if kept and isinstance(error, LimbeckError):
                    raise LimbeckError(
                        f"{error}; {kept} items are kept in {folder}: the same command goes on"
                    ) from error
                raise
            finally:
                if not any(part["rows"] for part in parts._progress["parts"]):
                    parts.remove()

    def _resume(self, about: dict[str, Any]) -> None:
        file = self.folder / PROGRESS
        remove_leftovers(self.folder)
        if not file.exists():
            self._progress = {"format": FORMAT, "about": about, "parts": []}
            return
        self._progress = read_json(file)
        differ = [name for name, value in about.items() if self._progress["about"].get(name) != value]
        if differ:
            raise LimbeckError(
                f"{self.folder}: an unfinished encoding with another {' and '.join(differ)}; "
                "remove it to start anew"
            )
        for part in self._progress["parts"]:
            self.seen, self.rows = self.seen + part["seen"], self.rows + part["rows"]
            if part["skipped"]:
                lines = split_lines((self.folder / f"{part['name']}.jsonl").read_text(encoding="utf-8"))
                self.skipped += [json.loads(line) for line in lines]
        self._begin()

    def append(
        self, points: np.ndarray, items: pa.Table | None, failed: Sequence[tuple[str, Reason]], seen: int
    ) -> None:
        """Take a step of ``seen`` rows: points (n, width) with items, and (id, reason) of the others."""
        if items is not None:
            self._points.append(points)
            self._items.append(items)
            self.rows += len(points)
        self.skipped += [{"id": item_id, "reason": reason, "kind": reason.kind} for item_id, reason in failed]
        self.seen, self._held = self.seen + seen, self._held + seen
        if self._held >= PART_ITEMS or time.monotonic() - self._since >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Close the part, so that it counts."""
        if not self._held:
            return
        parts = self._progress["parts"]
        name, rows, skipped = f"{len(parts):06}", sum(map(len, self._points)), self.skipped[self._skips :]
        if skipped:
            lines = (json_text(entry) + "\n" for entry in skipped)
            write_atomic(self.folder / f"{name}.jsonl", "".join(lines))
        if rows:
            with write_encoded(self.folder / name, self._meta, replace=True) as writer:
                for points, items in zip(self._points, self._items, strict=True):
                    writer.append(points, items)
        part = {"name": name, "rows": rows, "skipped": len(skipped), "seen": self._held}
        write_json(self.folder / PROGRESS, {**self._progress, "parts": [*parts, part]})
        parts.append(part)
        self._begin()

    def batches(self) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Points and items of all parts, and of what is in none yet, in order.

        Raises:
            LimbeckError: a part that was damaged meanwhile.
        """
        for part in self._progress["parts"]:
            if part["rows"]:
                encoded = Encoded.open(self.folder / part["name"])
                encoded.check()
                yield from encoded.batches()
        yield from zip(self._points, self._items, strict=True)

    def remove(self) -> None:
        """Remove the parts; the set is whole."""
        remove_tree(self.folder)


def _require_ours(folder: Path) -> None:
    """Refuse a directory of this name that no encoding left.

    Raises:
        LimbeckError: it is a file or a link, holds another file, or its progress is of another format.
    """
    if not folder.is_symlink() and not folder.exists():
        return
    why = "is a file or a link"
    if folder.is_dir() and not folder.is_symlink():
        begun = os.path.lexists(folder / PROGRESS)
        why = (STARTED if begun else _BARE).foreign(folder) or ""
    if why:
        raise LimbeckError(
            f"{folder}: {why}; what is done of an encoding is kept under this name: move it away, or choose "
            "another --out"
        )
