"""Files written whole or not at all, JSON read with clear errors, SHA-256 fingerprints."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from limbeck.errors import LimbeckError


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fsync_path(path: Path) -> None:
    """Flush a file or a directory entry to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> LimbeckError:
    return LimbeckError(
        f"{path}: cannot write ({error.strerror or error}); free space or choose another place"
    )


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A stream beside ``path``, at the end fsync and rename; on any error nothing is left."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except OSError as error:
        _remove_file(aside)
        raise _cannot_write(path, error) from error
    except BaseException:
        _remove_file(aside)
        raise
    fsync_path(path.parent)


def _remove_file(path: Path) -> None:
    with contextlib.suppress(OSError):  # its folder may be a file
        path.unlink()


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write beside ``path``, fsync, rename: a reader sees the old file or the new one, never a half."""
    with atomic_file(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value atomically, indented, NaN refused."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one is a `LimbeckError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LimbeckError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LimbeckError(f"{path}: not valid JSON ({error}); restore or rebuild it") from None


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left directly in a directory that nobody writes to now."""
    for pattern in (".*.tmp", ".*.old"):
        for leftover in Path(folder).glob(pattern):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Build a directory aside and publish it by rename; on any error nothing is left.

    Args:
        path: where the directory shall stand.
        replace: swap out an existing directory; otherwise an existing, non-empty one is refused.
    """
    path = Path(path)
    if path.exists() and not replace and (path.is_file() or any(path.iterdir())):
        raise LimbeckError(f"{path}: exists already; choose another place, or replace or remove it")
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        for file in aside.rglob("*"):
            fsync_path(file)
        fsync_path(aside)
        if path.exists():
            old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
            path.rename(old)
            aside.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            aside.rename(path)
        fsync_path(path.parent)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise _cannot_write(path, error) from error
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
