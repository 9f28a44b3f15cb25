"""Keeps the finished parts of an encoding in ``OUT.part``, so that the same command can resume it."""

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
from limbeck.typed import Json

FORMAT = "limbeck.encoding/1"
PROGRESS = "progress.json"
# A killed process may leave temporary directories such as `.000001.<hex>.tmp`.
_FILES = (
    rf"{LOCK_NAME}|{HOLDER_NAME}|{re.escape(PROGRESS)}|\d{{6}}\.jsonl|\..*\.[0-9a-f]{{8}}\.(tmp|old)(/.*)?"
    rf"|\d{{6}}/({ENCODED.files})"
)
_BARE = Kind("unfinished encoding", _FILES)
STARTED = Kind("unfinished encoding", _FILES, PROGRESS, lambda value: value.get("format") == FORMAT)
PART_ITEMS, PART_SECONDS = 4096, 20.0  # a part is closed after this many items or seconds


class Parts:
    """Writes and reads the parts of an encoding: small encoded sets, and lists of unreadable items.

    A part is finished when ``progress.json`` names it. Rows that are in no finished part are encoded again
    after an interruption.

    Attributes:
        folder: ``OUT.part``.
        seen: the number of rows of the source that are done, readable or not.
        rows: the number of points among them.
        skipped: the unreadable items, like `read_skipped` returns them.
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
    def open(cls, out: Path, meta: EncodedMeta, about: dict[str, Json]) -> Iterator[Parts]:
        """Start an encoding or resume an interrupted one; an error keeps the finished rows.

        Args:
            out: the directory of the encoded set.
            meta: describes the points.
            about: what identifies the encoding; to resume, it must equal that of the interrupted one.

        Raises:
            LimbeckError: the unfinished encoding is of other input, another process works on it, or the disk
                is full.
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
                        f"{error}; {kept} items are kept in {folder}: run the same command to resume",
                        code=error.code,
                    ) from error
                raise
            finally:
                if not any(part["rows"] for part in parts._progress["parts"]):
                    parts.remove()

    def _resume(self, about: dict[str, Json]) -> None:
        file = self.folder / PROGRESS
        remove_leftovers(self.folder)
        if not file.exists():
            self._progress = {"format": FORMAT, "about": about, "parts": []}
            return
        self._progress = read_json(file)
        differ = [name for name, value in about.items() if self._progress["about"].get(name) != value]
        if differ:
            raise LimbeckError(
                f"{self.folder}: holds an unfinished encoding with another {' and '.join(differ)}; "
                "remove it to start again",
                code="E-ENCODE-UNFINISHED",
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
        """Add a batch of ``seen`` rows: points (n, width) with items, and (id, reason) of the others."""
        if items is not None:
            self._points.append(points)
            self._items.append(items)
            self.rows += len(points)
        self.skipped += [{"id": item_id, "reason": reason, "kind": reason.kind} for item_id, reason in failed]
        self.seen, self._held = self.seen + seen, self._held + seen
        if self._held >= PART_ITEMS or time.monotonic() - self._since >= PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the current part and name it in ``progress.json``."""
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
        """Yield points and items of all parts and of the rows not yet in a part, in order.

        Raises:
            LimbeckError: a part is damaged.
        """
        for part in self._progress["parts"]:
            if part["rows"]:
                encoded = Encoded.open(self.folder / part["name"])
                encoded.check()
                yield from encoded.batches()
        yield from zip(self._points, self._items, strict=True)

    def remove(self) -> None:
        """Remove the parts; call it when the encoded set is complete."""
        remove_tree(self.folder)


def _require_ours(folder: Path) -> None:
    """Check that a directory, if it exists, was left by an encoding.

    Raises:
        LimbeckError: it is a file or a link, holds another file, or its progress has another format.
    """
    if not folder.is_symlink() and not folder.exists():
        return
    why = "is a file or a link"
    if folder.is_dir() and not folder.is_symlink():
        begun = os.path.lexists(folder / PROGRESS)
        why = (STARTED if begun else _BARE).foreign(folder) or ""
    if why:
        raise LimbeckError(
            f"{folder}: {why}; an unfinished encoding is kept under this name; move it away, or choose "
            "another --out",
            code="E-ENCODE-UNFINISHED",
        )
