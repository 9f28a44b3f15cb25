"""Outputs of frozen backbones, computed once and kept in memory-mapped files.

The key is a hash of the backbone (configuration, transform, tokenizer, weights) and of the items. A changed
model or a changed picture therefore never reads a stale file. The module belongs to the encoders, not to
training, because evaluation and search use it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from torch import nn

from limbeck.console import echo
from limbeck.encoders.backbone import Backbone
from limbeck.encoders.encode import Block
from limbeck.encoders.text import SentenceBackbone
from limbeck.encoders.text_memory import TextMemory
from limbeck.errors import LimbeckError
from limbeck.files import atomic_file, cache_directory
from limbeck.npy import open_npy

PART = 1 << 16
"""Items of a file where there are more."""
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


class Parts:
    """Rows of several arrays of `PART` rows each (the last one may be shorter), read like those of one."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = arrays
        self.shape = (sum(map(len, arrays)), *arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, positions: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the rows (n, …) at some positions (n,)."""
        part, row = np.divmod(np.asarray(positions), PART)
        out = np.empty((len(part), *self.shape[1:]), np.float32)
        for own in np.unique(part).tolist():
            out[part == own] = self._arrays[own][row[part == own]]
        return out


class BackboneCache:
    """Keep one ``.npy`` array (float32, (N, …)) per pair of backbone and item list in a folder."""

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        quiet: bool = False,
        rank: int = 0,
        world: int = 1,
        barrier: Callable[[], object] = lambda: None,
    ) -> None:
        """Open the cache.

        Args:
            folder: by default ``$LIMBECK_CACHE``, then ``~/.cache/limbeck``.
            quiet: True prints no progress of long computations.
            rank, world: the number of this process among those that ask for the same outputs in the same
                order, and share the work.
            barrier: waits for the others.
        """
        self.folder, self.quiet = Path(folder or cache_directory()), quiet
        self.rank, self.world, self.barrier = rank, world, barrier
        self._memories: dict[str, TextMemory] = {}

    @contextlib.contextmanager
    def remembering(self, model: nn.Module) -> Iterator[None]:
        """Let the unchanged sentence encoders in a model look single texts up here; new ones are added at the
        end."""
        readers = [
            (part, name)
            for part in model.modules()
            if isinstance(part, SentenceBackbone) and (name := part.memory_name) is not None
        ]
        try:
            for part, name in readers:
                part.memory = self._memories.setdefault(name, TextMemory(self.folder / name))
                part.memory.refresh()
            yield
            for _, name in readers:
                self._memories[name].save()
        finally:
            for part, _ in readers:
                part.memory = None

    def outputs(
        self, backbone: Backbone, items_key: str, count: int, blocks: Callable[[], Iterable[Block]]
    ) -> np.ndarray:
        """Return the stored array (count, …), memory-mapped; compute and write it first if it is missing.

        Args:
            backbone: the backbone that computes the outputs.
            items_key: names the items and their order.
            count: the number of items.
            blocks: called if nothing is stored; it must yield every position exactly once.

        Raises:
            LimbeckError: the blocks do not cover the items.
        """
        return self._files(backbone, {items_key: (count, blocks)})[0]

    def parts(
        self, backbone: Backbone, items_key: str, count: int, blocks: Callable[[int, int], Iterable[Block]]
    ) -> np.ndarray | Parts:
        """Return the outputs of many items, in files of `PART` items.

        Several processes share the files, and a stop loses only those that were not finished.

        Args:
            backbone: the backbone that computes the outputs.
            items_key: names the items and their order.
            count: the number of items.
            blocks: computes the outputs from one position up to, but without, another.
        """
        if count <= PART:
            return self.outputs(backbone, items_key, count, lambda: blocks(0, count))
        starts = range(0, count, PART)
        stops = [min(start + PART, count) for start in starts]
        files = {
            f"{items_key}|{start}": (stop - start, partial(blocks, start, stop))
            for start, stop in zip(starts, stops, strict=True)
        }
        return Parts(self._files(backbone, files))

    def _files(
        self, backbone: Backbone, wanted: Mapping[str, tuple[int, Callable[[], Iterable[Block]]]]
    ) -> list[np.ndarray]:
        """Return the arrays of some keys; each process computes its share of the missing ones."""
        key = f"{_VERSION}|{backbone.cache_key()}|{backbone.digest()}"
        names = (hashlib.sha256(f"{key}|{own}".encode()).hexdigest()[:32] for own in wanted)
        paths = [self.folder / f"{name}.npy" for name in names]
        for everything in (False, True):
            # In the second turn a file is missing only if the processes have no disk in common.
            for at, (path, (count, blocks)) in enumerate(zip(paths, wanted.values(), strict=True)):
                if not path.is_file() and (everything or at % self.world == self.rank):
                    self.sweep()
                    with atomic_file(path) as stream, self.remembering(backbone):
                        self._write(stream, count, backbone.dim, blocks())
            if not everything:
                self.barrier()
        for path in paths:
            with contextlib.suppress(OSError):  # `prune` needs the time of the last read
                os.utime(path, (time.time(), path.stat().st_mtime))
        return [open_npy(path) for path in paths]

    def kept(self, days: float = 0) -> dict[Path, int]:
        """Return the size of each cached file that was not used for ``days`` days."""
        before, sizes = time.time() - 86_400 * days, {}
        for file in sorted(self._own()):
            with contextlib.suppress(FileNotFoundError):  # another process may prune, too
                stat = file.stat()
                if max(stat.st_atime, stat.st_mtime) <= before:
                    sizes[file] = stat.st_size
        return sizes

    def _own(self) -> Iterator[Path]:
        """Yield the files whose names this class and `TextMemory` give; other files are left alone."""
        for entry in self.folder.iterdir() if self.folder.is_dir() else ():
            if entry.is_symlink():
                continue
            if _OUTPUTS.fullmatch(entry.name) and entry.is_file():
                yield entry
            elif _TEXTS.fullmatch(entry.name) and entry.is_dir():
                yield from (file for file in entry.iterdir() if _SEGMENT.fullmatch(file.name))

    def prune(self, days: float) -> dict[Path, int]:
        """Remove the files that `kept` lists and return them; on POSIX a run with an open file keeps its
        data.

        Raises:
            LimbeckError: a file cannot be removed.
        """
        files = self.kept(days)
        for file in files:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise LimbeckError(
                    f"{file}: cannot be removed ({error.strerror})", code="E-PATH-WRITE"
                ) from None
        return files

    def _write(self, stream: BinaryIO, count: int, dim: int, blocks: Iterable[Block]) -> None:
        """Write header and rows with the memory of one block; a full disk raises an error."""
        began = spoke = time.monotonic()
        start, done, width = 0, 0, 0
        for positions, outputs in blocks:
            rows = np.ascontiguousarray(outputs, np.float32)
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
            raise LimbeckError(
                f"cache: holds {done} outputs for {count} items; please report this bug of limbeck",
                code="E-BUG",
            )

    def sweep(self) -> None:
        """Remove temporary files that killed writers left here more than a day ago."""
        for leftover in self.folder.iterdir() if self.folder.is_dir() else ():
            if not _LEFTOVER.fullmatch(leftover.name):
                continue
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > 86_400:
                    leftover.unlink()


def _header(stream: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of a ``.npy`` file; return the offset of the first row."""
    layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, layout)
    return stream.tell()


def key_of_items(items: Iterable[object]) -> str | None:
    """Return the content hash of a list of texts or PIL pictures in order; None for other items."""
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
