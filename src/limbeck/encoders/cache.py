"""Outputs of frozen backbones, computed once and kept in memory-mapped files.

The key is a hash of the backbone (what it is, its transform and tokenizer, its weights) and of the items, so
a changed model or a changed picture never meets a stale file. It lies beside the encoders, not in training,
because evaluation and search benefit from it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from limbeck.console import echo
from limbeck.encoders.backbone import Backbone
from limbeck.encoders.hub import weights_digest
from limbeck.encoders.text_memory import remembered
from limbeck.errors import LimbeckError
from limbeck.files import atomic_file
from limbeck.npy import open_npy

# Positions (b,) in the list of items, and the float32 outputs (b, …) there.
Block = tuple[np.ndarray, np.ndarray]
_VERSION = 3
_OUTPUTS, _TEXTS, _SEGMENT, _LEFTOVER = map(
    re.compile,
    (
        r"[0-9a-f]{32}\.npy",
        r"texts-[0-9a-f]{32}(-[\w-]+)?",
        r"[0-9a-f]{16}\.npz",
        r"\.[0-9a-f]{32}\.npy\.[0-9a-f]{8}\.tmp",
    ),
)


class BackboneCache:
    """A folder of ``.npy`` arrays (float32, (N, …)), one for each pair of backbone and item list."""

    def __init__(self, folder: Path | str | None = None, *, quiet: bool = False) -> None:
        """``folder`` defaults to ``$LIMBECK_CACHE``, then ``~/.cache/limbeck``; long work is told of."""
        default = os.environ.get("LIMBECK_CACHE") or Path.home() / ".cache" / "limbeck"
        self.folder, self.quiet = Path(folder or default), quiet

    def outputs(
        self, backbone: Backbone, items_key: str, count: int, blocks: Callable[[], Iterable[Block]]
    ) -> np.ndarray:
        """The stored array (count, …), memory-mapped; what is not stored yet is written block by block first.

        Args:
            backbone: whose outputs they are.
            items_key: names the items and their order.
            count: number of items.
            blocks: called if nothing is stored; covers every position once.
        """
        digest = hashlib.sha256(
            f"{_VERSION}|{backbone.cache_key()}|{weights_digest(backbone)}|{items_key}".encode()
        ).hexdigest()
        path = self.folder / f"{digest[:32]}.npy"
        if not path.is_file():
            self.sweep()
            with atomic_file(path) as stream, remembered(self.folder):
                self._write(stream, count, backbone.dim, blocks())
        with contextlib.suppress(OSError):  # `prune` asks when it was read; not every disk notes it
            os.utime(path, (time.time(), path.stat().st_mtime))
        return open_npy(path)

    def kept(self, days: float = 0) -> dict[Path, int]:
        """Bytes of each file, outputs and `TextMemory`, that nothing has read or written for so many days."""
        before, found = time.time() - 86_400 * days, {}
        for file in sorted(self._own()):
            with contextlib.suppress(FileNotFoundError):  # another process may prune, too
                stat = file.stat()
                if max(stat.st_atime, stat.st_mtime) <= before:
                    found[file] = stat.st_size
        return found

    def _own(self) -> Iterator[Path]:
        """Files of names that this class and `TextMemory` give; whatever else lies there is not touched."""
        for entry in self.folder.iterdir() if self.folder.is_dir() else ():
            if entry.is_symlink():
                continue
            if _OUTPUTS.fullmatch(entry.name) and entry.is_file():
                yield entry
            elif _TEXTS.fullmatch(entry.name) and entry.is_dir():
                yield from (file for file in entry.iterdir() if _SEGMENT.fullmatch(file.name))

    def prune(self, days: float) -> dict[Path, int]:
        """Remove what `kept` lists, and say what it was; on POSIX a run that has one open reads on."""
        files = self.kept(days)
        for file in files:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise LimbeckError(f"{file}: cannot be removed ({error.strerror})") from None
        return files

    def _write(self, stream: BinaryIO, count: int, dim: int, blocks: Iterable[Block]) -> None:
        """Header and rows: the memory of one block, a full disk is an error and no crash of a memory map."""
        began = spoke = time.monotonic()
        start, done, width = 0, 0, 0
        for positions, found in blocks:
            rows = np.ascontiguousarray(found, np.float32)
            if not done:
                start, width = _header(stream, (count, *rows.shape[1:])), rows[0].nbytes
            for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(positions) != 1) + 1):
                stream.seek(start + int(positions[run[0]]) * width)
                stream.write(rows[run].tobytes())
            done, now = done + len(rows), time.monotonic()
            if not self.quiet and now - spoke > 10:
                spoke, pace = now, done / (now - began)
                echo(
                    f"cache: {done:,}/{count:,} outputs of a frozen tower  {pace:,.0f} items/s  "
                    f"{(count - done) / pace:,.0f} s left",
                    err=True,
                )
        if not done:
            _header(stream, (0, dim))
        if done != count:
            raise LimbeckError(f"cache: {done} outputs of {count} items; report this as a fault of limbeck")

    def sweep(self) -> None:
        """Remove what killed writers left here more than a day ago."""
        for leftover in self.folder.iterdir() if self.folder.is_dir() else ():
            if not _LEFTOVER.fullmatch(leftover.name):
                continue
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > 86_400:
                    leftover.unlink()


def _header(stream: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the head of a ``.npy`` file; returns where the rows start."""
    layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, layout)
    return stream.tell()


def key_of_items(items: Sequence[Any]) -> str | None:
    """Fingerprint of a list of texts or PIL pictures in order, by content; None for other items."""
    digest = hashlib.sha256()
    for item in items:
        if isinstance(item, str):
            data = item.encode()
        elif isinstance(item, Image.Image):
            data = repr((item.mode, item.size)).encode() + item.tobytes()
        else:
            return None
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
