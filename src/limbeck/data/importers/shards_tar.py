"""Rows of a webdataset shard: members of one key (``KEY.jpg``, ``KEY.txt``, ``KEY.json``) are one sample."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from limbeck.data.importers.shard_rows import CAPTION, ShardRows
from limbeck.data.importers.tar_members import Member, tar_members
from limbeck.errors import LimbeckError
from limbeck.pictures import SUFFIXES, Kind, Place, is_hidden
from limbeck.pictures.shards import PICTURE_BYTES
from limbeck.regular import regular_file
from limbeck.tables import decode_text, load_json
from limbeck.typed import Json

TEXT_BYTES = 1 << 20
"""The largest text or JSON member, 1 MiB."""
_LABELS = ("cls", "label", "labels")


@dataclass
class _Sample:
    picture: Member | None = None
    caption: str | None = None
    label: str | None = None
    facts: dict[str, Json] = field(default_factory=dict)


def read_tar_shard(root: Path, name: str, *, fields: Sequence[str], checked: bool) -> ShardRows:
    """Read the samples of a tar file that have a picture; faults are noted by name, and the rest is kept.

    The caption is ``KEY.txt``, else ``caption`` of ``KEY.json``; labels are ``KEY.cls``, else ``labels`` or
    ``label`` of the JSON, and tags its ``tags``.

    Args:
        root: the folder of the shards.
        name: the path of the tar file below it.
        fields: further fields of the JSON that are kept.
        checked: decode every picture.
    """
    rows, samples = ShardRows(further={name: [] for name in fields}), dict[str, _Sample]()
    try:
        with regular_file(root / name).open("rb", buffering=0) as stream:
            try:
                for member in tar_members(stream, os.fstat(stream.fileno()).st_size):
                    _take(rows, samples, stream, name, member, checked)
            except LimbeckError as error:
                rows.refuse(name, f"damaged: {error}", Kind.DAMAGED)
    except OSError as error:
        rows.refuse(name, f"cannot be read ({error.strerror})", Kind.UNREADABLE)
    for key, sample in samples.items():
        facts, at = sample.facts, sample.picture
        if at is None:
            rows.refuse(f"{name}/{key}", "a sample without a picture", Kind.MISSING)
            continue
        captions = sample.caption or next((facts[word] for word in CAPTION if facts.get(word)), None)
        labels = sample.label or next((facts[word] for word in _LABELS if facts.get(word) is not None), None)
        rows.add(key, str(Place(name, at.name, at.at, at.size)), captions, facts.get("tags"), labels)
        for field_name, values in rows.further.items():
            values.append(facts.get(field_name))
    return rows


def _take(
    rows: ShardRows, samples: dict[str, _Sample], stream: BinaryIO, shard: str, member: Member, checked: bool
) -> None:
    folder, slash, file = member.name.rpartition("/")
    stem, _, ending = file.partition(".")
    key, where = (folder + slash + stem).removeprefix("./"), f"{shard}/{member.name}"
    if is_hidden(member.name.removeprefix("./")) or not stem:
        rows.refuse(where, "a hidden file", Kind.HIDDEN)
    elif "." + ending.lower() in SUFFIXES:
        content = None
        if member.size <= PICTURE_BYTES:
            content = stream.read(member.size) if checked else b"unread"[: member.size]
        if member.size > PICTURE_BYTES:
            rows.refuse(where, f"more than {PICTURE_BYTES:,} bytes", Kind.TOO_LARGE)
        elif _odd(member.name):
            rows.refuse(where, "a name that is not UTF-8 or too long", Kind.NOT_UTF8)
        elif rows.sound(where, content, checked):
            sample = samples.setdefault(key, _Sample())
            if sample.picture is None:
                sample.picture = member
            else:
                rows.refuse(where, f"a second picture of the key {key!r}", Kind.NOT_PICTURE)
        return
    elif ending in ("txt", "json", "cls"):
        _take_text(rows, samples.setdefault(key, _Sample()), stream, where, ending, member)
    else:
        rows.refuse(where, "neither picture, txt, json nor cls", Kind.NOT_PICTURE)


def _take_text(
    rows: ShardRows, sample: _Sample, stream: BinaryIO, where: str, ending: str, member: Member
) -> None:
    if member.size > TEXT_BYTES:
        rows.refuse(where, f"more than {TEXT_BYTES:,} bytes of text", Kind.TOO_LARGE)
        return
    try:
        text = decode_text(stream.read(member.size), where).text
        if ending == "txt":
            sample.caption = text
        elif ending == "cls":
            sample.label = text.strip()
        elif isinstance(content := load_json(text, where), dict):
            sample.facts = content
    except LimbeckError as error:
        rows.refuse(where, str(error), Kind.UNREADABLE)


def _odd(name: str) -> bool:
    return ".tar/" in name or len(name) > 1024 or not name.isprintable()
