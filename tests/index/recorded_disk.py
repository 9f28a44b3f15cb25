"""A record of what reaches a disk, and what a power cut at any moment would leave of it.

An fsync makes a file's content, or a directory's entries, last; what was not synced may be lost. Every fsync
is recorded, and Python's audit events of open, link, remove, rename, mkdir and rmdir. `crashes` makes three
disks from each moment: all that was not synced is lost; names last at once but content that was not synced
is lost; and a random mixture of both.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_EVENTS = {"open", "os.link", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate"}
_listening: list[Recorder] = []


@dataclass(frozen=True)
class Moment:
    """The disk at an event: names as processes see them and as they were synced, synced content, the mark."""

    event: str
    seen: dict[int, dict[str, int]]
    synced: dict[int, dict[str, int]]
    content: dict[int, bytes]
    mark: str


class Recorder:
    """Records below ``root``; use as a context manager, and set ``mark`` to what was acknowledged."""

    def __init__(self, root: Path) -> None:
        self.root, self.mark, self.moments = Path(root), "", []
        self._held: dict[int, int] = {}  # inode: an open descriptor, so that no number is used twice
        self._folders: set[int] = set()
        self._content: dict[int, bytes] = {}
        self._synced: dict[int, dict[str, int]] = {}
        self.busy = False

    def __enter__(self) -> Recorder:
        self._fsync = os.fsync
        seen = self._look()
        self._synced = {folder: dict(names) for folder, names in seen.items()}
        for inode, descriptor in self._held.items():
            if inode not in self._folders:
                self._content[inode] = _read(descriptor)
        os.fsync = self._sync
        _listening.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.event("end")
        _listening.remove(self)
        os.fsync = self._fsync
        for descriptor in self._held.values():
            os.close(descriptor)

    def _look(self) -> dict[int, dict[str, int]]:
        """{directory: {name: inode}} below the root, as a process sees it."""
        seen: dict[int, dict[str, int]] = {}
        folders = [self.root]
        while folders:
            folder = folders.pop()
            names = seen.setdefault(self._inode(folder), {})
            for entry in list(os.scandir(folder)):
                with contextlib.suppress(FileNotFoundError):
                    names[entry.name] = self._inode(Path(entry.path))
                    if entry.is_dir():
                        folders.append(Path(entry.path))
        return seen

    def _inode(self, path: Path) -> int:
        status = path.stat()
        if status.st_ino not in self._held:
            self._held[status.st_ino] = os.open(path, os.O_RDONLY)
            if stat.S_ISDIR(status.st_mode):
                self._folders.add(status.st_ino)
        return status.st_ino

    def _sync(self, descriptor: int) -> None:
        self.event("fsync")
        self._fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if self.root == path or self.root in path.parents:
            self.busy = True
            inode = os.fstat(descriptor).st_ino
            if path.is_dir():
                self._synced[inode] = self._look().get(inode, {})
            else:
                self._content[self._inode(path)] = path.read_bytes()
            self.busy = False
        self.event("fsynced")

    def event(self, name: str) -> None:
        if not self.busy:
            self.busy = True
            synced = {folder: dict(names) for folder, names in self._synced.items()}
            self.moments.append(Moment(name, self._look(), synced, dict(self._content), self.mark))
            self.busy = False

    def crashes(self, target: Path, seed: int = 0) -> Iterator[tuple[Moment, str, Path]]:
        """(moment, kind of loss, a directory as the disk would be found), one after another, each once."""
        root, disk = self.root.stat().st_ino, Disk(target)
        rng, done = random.Random(seed), set()
        for moment in self.moments:
            for kind in ("unsynced is lost", "content is lost", "mixed"):
                tree = dict(self._tree(root, moment, kind, rng, Path()))
                key = hash((moment.mark, frozenset(tree.items())))
                if key not in done:
                    done.add(key)
                    disk.become(tree)
                    yield moment, kind, target

    def _tree(
        self, folder: int, moment: Moment, kind: str, rng: random.Random, at: Path
    ) -> Iterator[tuple[Path, bytes | None]]:
        """(path, content, or None of a directory) of everything that is left."""
        seen, synced = moment.seen.get(folder, {}), moment.synced.get(folder, {})
        names = dict(synced if kind == "unsynced is lost" else seen)
        if kind == "mixed":
            for name in sorted({*seen, *synced}):
                if seen.get(name) != synced.get(name):
                    chosen = rng.choice((seen, synced)).get(name)
                    names.pop(name, None)
                    if chosen is not None:
                        names[name] = chosen
        for name, inode in names.items():
            if inode in self._folders:
                yield at / name, None
                yield from self._tree(inode, moment, kind, rng, at / name)
            else:
                yield at / name, moment.content.get(inode, b"")


class Disk:
    """A directory that becomes one tree after another; what two of them share is not written again."""

    def __init__(self, root: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        self.root = root
        self._written: dict[Path, tuple[bytes, tuple[int, int, int]]] = {}

    def become(self, tree: dict[Path, bytes | None]) -> None:
        """Hold just ``tree``: content by path, None of a directory; parents come before what is in them."""
        for path in sorted(self.root.rglob("*"), reverse=True):  # what is in a directory before itself
            name = path.relative_to(self.root)
            if path.is_dir() and not path.is_symlink():
                if tree.get(name, b"") is not None:
                    path.rmdir()
            elif tree.get(name) is None or self._written.get(name) != (tree[name], _facts(path)):
                path.unlink()
        for name, content in tree.items():
            path = self.root / name
            if content is None:
                path.mkdir(exist_ok=True)
            elif not path.exists():
                path.write_bytes(content)
                self._written[name] = (content, _facts(path))


def _facts(path: Path) -> tuple[int, int, int]:
    about = path.stat()
    return about.st_ino, about.st_mtime_ns, about.st_size


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _listening and event in _EVENTS:
        for recorder in _listening:
            if event != "open" or _writes(arguments):
                recorder.event(event)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


sys.addaudithook(_hook)
