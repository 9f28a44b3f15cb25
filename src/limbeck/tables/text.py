r"""Text files as bytes, as text and as lists of lines; only ``\n`` and ``\r\n`` end a line."""

from __future__ import annotations

import codecs
import contextlib
import mmap
import stat
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from limbeck.errors import InputNote, LimbeckError
from limbeck.regular import regular_file

MAX_BYTES = 4 << 30  # per file; a larger list or table does not fit into memory
MAX_PIPE_BYTES = 1 << 30  # per pipe, whose length is unknown
_BLANKS = " \t"  # stripped from an entry; other white space can be part of a file name
_BLOCK = 1 << 20
Text: TypeAlias = bytes | mmap.mmap  # both have find, len and slices that are bytes
_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)


@dataclass(frozen=True)
class Decoded:
    """A text, its encoding in the file, and notes for the user on the decoding."""

    text: str
    encoding: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextList:
    """The lines of a file without their line ends, and notes for the user."""

    name: str
    lines: list[str]
    notes: tuple[str, ...] = ()

    @property
    def entries(self) -> list[str]:
        """The lines that are not blank, without blanks and tabs at their ends."""
        return [line for _, line in self.numbered()]

    def numbered(self) -> Iterator[tuple[int, str]]:
        """Yield the line number, from 1, and the text of each entry."""
        for number, line in enumerate(self.lines, start=1):
            if text := line.strip(_BLANKS):
                yield number, text


def read_list(path: Path | str) -> TextList:
    """Read a file of lines; ``-`` is standard input.

    Raises:
        LimbeckError: there is no such file, or it is not a regular file of text.
    """
    decoded = decode_text(read_bytes(path), str(path))
    return TextList(str(path), split_lines(decoded.text), decoded.notes)


def warn_notes(notes: Iterable[str]) -> None:
    """Emit notes as warnings (`InputNote`), for callers without a report that could hold them."""
    for note in notes:
        warnings.warn(note, InputNote, stacklevel=3)


def split_lines(text: str) -> list[str]:
    r"""Split a text only at ``\n`` and ``\r\n``; no line follows the last line end."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line[:-1] if line.endswith("\r") else line for line in lines]


def decode_text(data: bytes, name: str) -> Decoded:
    """Decode a file's bytes; see `utf8_bytes` for the encodings."""
    content, encoding, notes = utf8_bytes(data, name)
    return Decoded(content.decode("utf-8"), encoding, notes)


def utf8_bytes(data: bytes, name: str) -> tuple[bytes, str, tuple[str, ...]]:
    """Return the text of a file as UTF-8 without byte order mark, its encoding, and notes.

    UTF-8 may have a mark; UTF-16 and UTF-32 need theirs. Where UTF-8 fails, cp1252 is used: for the whole
    file, or for single lines if most lines with non-ASCII letters are UTF-8. A note reports either.

    Raises:
        LimbeckError: it is UTF-16 that is broken or has no mark, or it is not text.
    """
    for mark, codec, encoding in _MARKS:
        if data.startswith(mark):
            try:
                text = data[len(mark) :].decode(codec)
            except UnicodeDecodeError as error:
                raise LimbeckError(
                    f"{name}: begins as {encoding} but is not ({error.reason}); save it as UTF-8",
                    code="E-FILE-ENCODING",
                ) from None
            return text.encode("utf-8"), encoding, (f"{name}: read as {encoding}",)
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    if data.isascii() or _is_utf8(data):
        if b"\0" in data and data.count(b"\0") > len(data) // 4:
            raise LimbeckError(
                f"{name}: contains zero bytes like UTF-16 without its mark; save it as UTF-8",
                code="E-FILE-ENCODING",
            )
        return data, "UTF-8", ()
    if b"\0" in data:
        raise LimbeckError(f"{name}: is not a text file; use UTF-8 text", code="E-FILE-ENCODING")
    return _with_cp1252(data, name)


def read_bytes(path: Path | str) -> bytes:
    """Return the bytes of a regular file, of standard input (``-``), or of a pipe of the shell.

    Raises:
        LimbeckError: there is no such file, it is a folder, device or named pipe, or it is too large for
            memory.
    """
    if str(path) == "-":
        return _bounded(sys.stdin.buffer.read(MAX_PIPE_BYTES + 1), "standard input")
    file = Path(path)
    try:
        status = file.stat()
        # A process substitution of the shell is there; a named pipe elsewhere may never get a writer.
        if stat.S_ISFIFO(status.st_mode) and str(path).startswith(("/dev/", "/proc/")):
            with file.open("rb") as stream:
                return _bounded(stream.read(MAX_PIPE_BYTES + 1), str(path))
        regular_file(file)
        if status.st_size > MAX_BYTES:
            raise LimbeckError(
                f"{path}: has {status.st_size:,} bytes; a text or table may have at most {MAX_BYTES:,}",
                code="E-FILE-SIZE",
            )
        return file.read_bytes()
    except FileNotFoundError:
        raise LimbeckError(f"{path}: there is no such file; check the path", code="E-PATH-MISSING") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise LimbeckError(
            f"{path}: cannot read it ({getattr(error, 'strerror', error)})", code="E-PATH-READ"
        ) from None


def read_large(path: Path | str) -> Text:
    """Return the bytes as `read_bytes` does; a large file is read into huge pages, in a fifth of the time."""
    file = Path(path)
    if str(path) == "-" or not file.is_file() or not _BLOCK <= file.stat().st_size <= MAX_BYTES:
        return read_bytes(path)
    size = file.stat().st_size
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return read_bytes(path)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    done = 0
    try:
        with file.open("rb", buffering=0) as stream, memoryview(memory) as view:
            while done < size and (count := stream.readinto(view[done:])):
                done += count
    except OSError as error:
        raise LimbeckError(
            f"{path}: cannot read it ({error.strerror}); restore it", code="E-PATH-READ"
        ) from None
    return memory if done == size else memory[:done]


def as_utf8(data: Text, name: str) -> tuple[Text, tuple[str, ...]]:
    """Apply `utf8_bytes` to large texts, in the same memory where they are UTF-8 without a mark already."""
    if isinstance(data, bytes):
        content, _, notes = utf8_bytes(data, name)
        return content, notes
    view = memoryview(data)
    marked = data[:4].startswith((codecs.BOM_UTF8, *(mark for mark, _, _ in _MARKS)))
    if not marked and not holds(data, b"\0") and _is_utf8(view):
        return data, ()
    content, _, notes = utf8_bytes(data[:], name)
    return content, notes


def holds(data: Text, byte: bytes) -> bool:
    """Return whether a byte occurs; the search goes in blocks, because only ``bytes`` are searched fast."""
    view = memoryview(data)
    return any(byte in bytes(view[start : start + _BLOCK]) for start in range(0, len(data), _BLOCK))


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > MAX_PIPE_BYTES:
        raise LimbeckError(
            f"{name}: is larger than {MAX_PIPE_BYTES:,} bytes; use a regular file", code="E-FILE-SIZE"
        )
    return data


def _is_utf8(data: bytes | memoryview) -> bool:
    """Return whether all of it is UTF-8, in blocks: the decoded text would take up to 4 times the memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    pending = False  # a character continues in the next block
    try:
        for start in range(0, len(data), _BLOCK):
            block = bytes(view[start : start + _BLOCK])
            if pending or not block.isascii():
                decoder.decode(block)
                pending = bool(decoder.getstate()[0])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _with_cp1252(data: bytes, name: str) -> tuple[bytes, str, tuple[str, ...]]:
    lines = data.split(b"\n")
    beyond = [at for at, line in enumerate(lines) if not line.isascii()]
    odd = [at for at in beyond if not _is_utf8(lines[at])]
    whole = 2 * len(odd) >= len(beyond)
    lost = 0
    for at in beyond if whole else odd:
        text = lines[at].decode("cp1252", errors="replace")
        lost += text.count("\ufffd")
        lines[at] = text.encode("utf-8")
    first = f"line {odd[0] + 1}"
    note = (
        f"{name}: is not UTF-8 ({first}); read as cp1252"
        if whole
        else f"{name}: {len(odd):,} lines are not UTF-8 and were read as cp1252 (first: {first})"
    )
    if lost:
        note += f"; {lost:,} bytes unknown to cp1252 became U+FFFD"
    note += "; if letters look wrong, save the file as UTF-8"
    return b"\n".join(lines), "cp1252" if whole else "UTF-8", (note,)
