"""Writes a new generation of an index: first its files, then one manifest that publishes them.

docs/index-format.md describes the order of steps and what each failure leaves behind.
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
    """Describes a query encoder to store in an index.

    Attributes:
        write: writes the encoder's files into a given empty directory.
        space_id: the space that it encodes into; it must be the index's.
        modalities: its inputs, {"text": "text", "image": "pixels" or "features:NAME"}.
        asymmetric: whether searches compare its numbers, not its codes, with the items' codes by default.
    """

    write: Callable[[Path], object]
    space_id: str
    modalities: dict[str, str]
    asymmetric: bool = False


@dataclass(frozen=True)
class StoreMeta:
    """Describes the items of an index.

    Attributes:
        space: the space of the stored points.
        space_id: hash of item tower, lift and space; None for points of other programs.
        modality: the modality of the items, "image" or "text".
        media_root: folder or zip that the items' ``path`` is relative to.
        model: where the item encoder came from, for people to read.
        encoders: query encoders to store in the index.
        embeddings: describes the items' column of embeddings; None if they have none.
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
    """Publish a new generation with one segment per part; after an error, nothing of it remains.

    Raises:
        LimbeckError: ``path`` exists (without ``replace``), the input is invalid, an id repeats, an encoder
            is of another space, no engine can rank in the space, the disk is full, or another writer holds
            the lock.
    """
    if not meta.space.is_indexable:
        raise LimbeckError(
            f"{path}: the model ranks by angles (space {meta.space.name}), which no engine of an index "
            "computes; train a method that ranks by distance, such as meru with lift.logit: distance",
            code="E-ENGINE-CANNOT",
        )
    check_directory_name(path)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        require_index_directory(path)
        before = set() if path in made else set(path.iterdir())
        with writer_lock(path, lock_timeout):
            published = generations(path)
            if published and not replace:
                raise LimbeckError(
                    f"{path}: already exists; choose another place, or replace it (--replace)",
                    code="E-PATH-EXISTS",
                )
            require_index_directory(path)  # check again: it may have changed before the lock was acquired
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
    """Write segments and encoders, then publish; an error removes what is not published."""
    written: list[Path] = []
    try:
        segments: list[SegmentEntry] = []
        encoders: list[EncoderEntry] = []
        files: dict[str, FileEntry] = {}
        for (
            source
        ) in meta.encoders:  # first, so that an encoder of another space is refused before any row is written
            if source.space_id != meta.space_id:
                raise LimbeckError(
                    f"{path}: the query encoder is of space {source.space_id}, the items are of space "
                    f"{meta.space_id}; use the model that encoded them",
                    code="E-INDEX-OTHER-MODEL",
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
            raise LimbeckError(
                f"{path}: segments have different columns; give every item the same ones",
                code="E-TABLE-COLUMN",
            )
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
                asymmetric=any(source.asymmetric for source in meta.encoders),
            ),
        )
    except BaseException as error:
        undo(path, generation, written, error)
        raise


def sync_folders(path: Path) -> None:
    """Fsync the folders of an index and the index directory, so that new names survive a power cut."""
    for folder in FOLDERS:
        if (path / folder).is_dir():
            fsync_path(path / folder)
    fsync_path(path)


def undo(path: Path, generation: int, written: Sequence[Path], error: BaseException) -> None:
    """Remove what a failed commit wrote, unless its generation is or may be published."""
    # If it was interrupted just after the link, the generation is published and its files must stay.
    if manifest_path(path, generation).exists() or isinstance(error, Unsettled):
        return
    discard(written)


def discard(entries: Sequence[Path]) -> None:
    """Remove those of the files and directories that exist."""
    for entry in entries:
        remove_tree(entry)


def write_encoder(
    path: Path, source: EncoderSource, written: list[Path]
) -> tuple[EncoderEntry, dict[str, FileEntry]]:
    """Write an encoder into ``encoders/<hash of its files>``, unless an earlier generation has done so.

    Args:
        path: the index directory.
        source: the encoder.
        written: new files and directories; this function appends its own.

    Returns:
        The manifest's entries: the encoder, and its files by path relative to the index.

    Raises:
        LimbeckError: the encoder wrote no files, or a link.
    """
    aside = path / "encoders" / uuid.uuid4().hex
    aside.mkdir(parents=True)
    written.append(aside)
    source.write(aside)
    found = dict(_walk(aside))
    if not found:
        raise LimbeckError(f"{path}: the query encoder wrote no files; save it again", code="E-MODEL-DAMAGED")
    entries = {name: file_entry(file) for name, file in found.items()}
    digest = sha256_json({name: entry.sha256 for name, entry in entries.items()})[:32]
    target = path / "encoders" / digest
    if target.exists() and all(same_file(target / name, entry) for name, entry in entries.items()):
        remove_tree(aside)
    else:
        for file in aside.rglob("*"):
            fsync_path(file)
        fsync_path(aside)
        if (
            target.exists()
        ):  # the target is damaged; files are never overwritten, so keep the new directory's name
            target, digest = aside, aside.name
        else:
            aside.rename(target)
            written.append(target)
    return (
        EncoderEntry(digest, source.space_id, dict(source.modalities)),
        {f"encoders/{digest}/{name}": entry for name, entry in entries.items()},
    )


def _walk(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative name, file) of the plain files below a directory, sorted; a link is an error."""
    for file in sorted(directory.rglob("*")):
        if file.is_symlink():
            raise LimbeckError(f"{file}: is a link; an index holds plain files only", code="E-PATH-KIND")
        if file.is_file():
            yield file.relative_to(directory).as_posix(), file
