"""The writing half of an index: a commit writes new files, then publishes them with one manifest.

See docs/index-format.md for the order of steps and what each failure leaves behind.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import cannot_write, check_directory_name, fsync_path, remove_tree, sha256_json
from limbeck.index.garbage import FOLDERS, collect_garbage, require_index_directory
from limbeck.index.id_table import check_unique
from limbeck.index.items import schema_json
from limbeck.index.lock import WAIT_SECONDS, writer_lock
from limbeck.index.manifest import (
    EncoderEntry,
    FileEntry,
    Manifest,
    SegmentEntry,
    Unsettled,
    generations,
    manifest_path,
    publish,
)
from limbeck.index.segment_writer import Batches, write_segment
from limbeck.index.segments import Segment, file_entry, same_file
from limbeck.spaces import Kept, Space


@dataclass(frozen=True)
class EncoderSource:
    """A query encoder to put into an index.

    Attributes:
        write: writes the encoder's files into the empty directory that it is given.
        space_id: the space that it encodes into; must be the index's.
        modalities: {"text": "text", "image": "pixels" or "features:NAME"}, what it can encode.
    """

    write: Callable[[Path], object]
    space_id: str
    modalities: dict[str, str]


@dataclass(frozen=True)
class StoreMeta:
    """What an index says of itself besides its rows.

    Attributes:
        space: of the stored points.
        space_id: hash of item tower, lift and space; None for points from elsewhere.
        modality: of the items, "image" or "text".
        media_root: folder or zip that the items' ``path`` is relative to.
        model: where the item encoder came from, for people to read.
        encoders: query encoders to put into the index.
        embeddings: what the items' column of embeddings holds, if they have one.
    """

    space: Space
    space_id: str | None = None
    modality: str = "image"
    media_root: str | None = None
    model: str | None = None
    encoders: Sequence[EncoderSource] = ()
    embeddings: Kept | None = None


def commit(
    path: Path,
    parts: Sequence[Batches],
    meta: StoreMeta,
    *,
    replace: bool = False,
    lock_timeout: float = WAIT_SECONDS,
) -> None:
    """Publish one new generation with a segment for each part; on any error nothing of it is left.

    Raises:
        LimbeckError: ``path`` exists, bad input, a duplicate id, a foreign encoder, a full disk, a held lock.
    """
    check_directory_name(path)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        require_index_directory(path)
        before = set() if path in made else set(path.iterdir())
        with writer_lock(path, lock_timeout):
            published = generations(path)
            if published and not replace:
                raise LimbeckError(f"{path}: exists already; choose another place, or replace or remove it")
            require_index_directory(path)  # once more: it may have been changed while the lock was waited for
            collect_garbage(path)
            try:
                for folder in made:
                    fsync_path(folder.parent)
                _write_generation(path, published[-1] + 1 if published else 1, parts, meta)
            except BaseException:
                if not generations(path):
                    discard([entry for entry in path.iterdir() if entry not in before])
                    for folder in made:
                        folder.rmdir()
                raise
            collect_garbage(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _write_generation(path: Path, generation: int, parts: Sequence[Batches], meta: StoreMeta) -> None:
    """Write segments and encoders, then publish; whatever is not published is removed again."""
    written: list[Path] = []
    try:
        segments: list[SegmentEntry] = []
        encoders: list[EncoderEntry] = []
        files: dict[str, FileEntry] = {}
        for source in meta.encoders:  # first, so that a foreign one is refused before any row is written
            if source.space_id != meta.space_id:
                raise LimbeckError(
                    f"{path}: query encoder of space {source.space_id}, the items are in space "
                    f"{meta.space_id}; use the model that encoded them"
                )
            entry, entries = write_encoder(path, source, written)
            encoders.append(entry)
            files |= entries
        opened: list[Segment] = []
        for batches in parts:
            directory = path / "segments" / uuid.uuid4().hex
            written.append(directory)
            segment, entries = write_segment(directory, batches, meta.space)
            segments.append(segment)
            files |= entries
            opened.append(Segment(directory, segment, meta.space))
        check_unique(opened)
        schema = opened[0].items.schema
        if any(not segment.items.schema.equals(schema) for segment in opened):
            raise LimbeckError(f"{path}: segments have different columns; give every item the same ones")
        sync_folders(path)
        publish(
            path,
            Manifest(
                generation=generation,
                space=meta.space.to_json(),
                space_id=meta.space_id,
                modality=meta.modality,
                schema=schema_json(schema),
                segments=segments,
                encoders=encoders,
                files=files,
                media_root=meta.media_root,
                model=meta.model,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                embeddings=None if meta.embeddings is None else meta.embeddings.to_json(),
            ),
        )
    except BaseException as error:
        undo(path, generation, written, error)
        raise


def sync_folders(path: Path) -> None:
    """Make new names in an index last: in its folders, the folders' own, and that of a new index."""
    for folder in FOLDERS:
        if (path / folder).is_dir():
            fsync_path(path / folder)
    fsync_path(path)


def undo(path: Path, generation: int, written: Sequence[Path], error: BaseException) -> None:
    """Remove what a failed commit wrote, unless its generation stands, or may be found after a power cut."""
    # Interrupted just after the link, the generation stands and its files must stay.
    if manifest_path(path, generation).exists() or isinstance(error, Unsettled):
        return
    discard(written)


def discard(entries: Sequence[Path]) -> None:
    """Remove files and directories, those that are there."""
    for entry in entries:
        remove_tree(entry)


def write_encoder(
    path: Path, source: EncoderSource, written: list[Path]
) -> tuple[EncoderEntry, dict[str, FileEntry]]:
    """Write an encoder into ``encoders/<hash of its files>``; an earlier generation may have put it there."""
    aside = path / "encoders" / uuid.uuid4().hex
    aside.mkdir(parents=True)
    written.append(aside)
    source.write(aside)
    found = dict(_walk(aside))
    if not found:
        raise LimbeckError(f"{path}: the query encoder wrote no files; save it again")
    entries = {name: file_entry(file) for name, file in found.items()}
    digest = sha256_json({name: entry.sha256 for name, entry in entries.items()})[:32]
    target = path / "encoders" / digest
    if target.exists() and all(same_file(target / name, entry) for name, entry in entries.items()):
        remove_tree(aside)
    else:
        for file in aside.rglob("*"):
            fsync_path(file)
        fsync_path(aside)
        if target.exists():  # damaged: names are never written twice, so keep ours under its own
            target, digest = aside, aside.name
        else:
            aside.rename(target)
            written.append(target)
    return (
        EncoderEntry(digest, source.space_id, dict(source.modalities)),
        {f"encoders/{digest}/{name}": entry for name, entry in entries.items()},
    )


def _walk(directory: Path) -> Iterator[tuple[str, Path]]:
    """(relative name, file) of the plain files under a directory, sorted; links are refused."""
    for file in sorted(directory.rglob("*")):
        if file.is_symlink():
            raise LimbeckError(f"{file}: a link; an index holds plain files only")
        if file.is_file():
            yield file.relative_to(directory).as_posix(), file
