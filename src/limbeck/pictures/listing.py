"""Listing of a folder or zip: pictures, other files, and skipped entries by reason.

A picture's suffix decides and costs nothing beyond the listing. Any other file is opened, and its first 16
bytes are compared with the signatures of all formats (about 30 µs on a local disk); where one fits, its
header is read. Links to files are followed. Links to folders are not, because they may form circles, repeat
pictures, or leave the collection; they are named, so that you can list them separately.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from limbeck.archives import open_archive
from limbeck.pictures.formats import is_hidden, is_picture_name, is_picture_stream
from limbeck.pictures.skipped import Kind, SkippedFiles


@dataclass(frozen=True)
class Listing:
    """The files of a folder or zip, by relative names with ``/``.

    Attributes:
        pictures: sorted names of pictures, whatever their suffix.
        others: sorted names of the other regular files, including hidden ones.
        skipped: the reasons why entries are not pictures.
    """

    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    skipped: SkippedFiles = field(default_factory=SkippedFiles)

    def sorted(self) -> Listing:
        """Return the listing in the order of names."""
        return Listing(sorted(self.pictures), sorted(self.others), self.skipped)


def list_folder(root: Path) -> Listing:
    """List a folder at any depth; hidden and linked folders are named but not entered."""
    listing = Listing()
    folders = [""]
    while folders:
        prefix = folders.pop()
        try:
            entries = sorted(_entries(root / prefix), key=lambda entry: entry.name)
        except OSError:
            listing.skipped.add(Kind.UNREADABLE, prefix or str(root))
            continue
        for entry in entries:
            name = prefix + entry.name
            kind = _kind(entry, name)
            if kind is None:
                listing.pictures.append(name)
            elif not isinstance(kind, Kind):
                folders.append(name + "/")
            else:
                listing.skipped.add(kind, name)
                if kind in (Kind.NOT_PICTURE, Kind.HIDDEN, Kind.UNREADABLE) and entry.is_file():
                    listing.others.append(name)
    return listing.sorted()


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _kind(entry: os.DirEntry[str], name: str) -> Kind | Literal["folder"] | None:
    """Return None for a picture, "folder" for a folder to enter, else the reason to skip the entry."""
    if not _is_utf8(entry.name):
        return Kind.NOT_UTF8
    try:
        status = entry.stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        if is_folder and entry.is_symlink():
            return Kind.LINKED_FOLDER
        if is_hidden(name):
            return Kind.HIDDEN
        if is_folder:
            return "folder"
        if not stat.S_ISREG(status.st_mode):
            return Kind.NOT_REGULAR
        if is_picture_name(name):
            return None
        with Path(entry.path).open("rb") as stream:
            return None if is_picture_stream(stream) else Kind.NOT_PICTURE
    except OSError:
        return Kind.BROKEN_LINK if entry.is_symlink() else Kind.UNREADABLE


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def list_zip(path: Path) -> Listing:
    """List a zip file; a member without a picture's suffix is unpacked up to its header.

    Raises:
        LimbeckError: the archive is missing or damaged.
    """
    archive, listing = open_archive(path), Listing()
    for name, info in archive.members.items():
        if is_hidden(name):
            kind: Kind | None = Kind.HIDDEN
        elif stat.S_ISLNK(info.external_attr >> 16):
            kind = Kind.BROKEN_LINK  # a zip stores its target path, which does not exist here
        elif is_picture_name(name):
            kind = None
        else:
            try:
                with archive.lock, archive.handle.open(info) as stream:
                    kind = None if is_picture_stream(stream) else Kind.NOT_PICTURE  # type: ignore[arg-type]
            except Exception:  # zipfile, zlib, lzma and bz2 each have their own; locked members too
                kind = Kind.UNREADABLE
        if kind is None:
            listing.pictures.append(name)
        else:
            listing.skipped.add(kind, name)
            listing.others.append(name)
    return listing.sorted()
