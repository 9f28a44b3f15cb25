"""Encodes pictures or features to points with a dual encoder, batch by batch; a stopped encoding resumes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from limbeck.encoding.parts import Parts
from limbeck.encoding.progress import EncodingBar
from limbeck.encoding.sources import Source, open_source, source_places
from limbeck.encoding.tables import TableSource
from limbeck.errors import LimbeckError
from limbeck.files import check_apart, sha256_json
from limbeck.index.embeddings import with_embeddings
from limbeck.index.encoded import Encoded, EncodedMeta, check_free, check_unique_ids, write_encoded
from limbeck.pictures import PIXEL_BUDGET, Kind, PictureError, Reason
from limbeck.pictures.decoding import SourceDamaged, Step, decoded_batches
from limbeck.preprocess import Reads
from limbeck.spaces import Kept
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.data.pairs import Pairs
    from limbeck.encoders.encoder import Encoder
    from limbeck.onnx.encoder import Output
    from limbeck.preprocess import Arrays

_NONE = np.empty((0, 0), np.float32)
OnSkip = Callable[[str, str], object]
Batch = tuple[np.ndarray, pa.Table]


def encode_batches(
    encoder: Encoder,
    source: Source,
    *,
    rows: np.ndarray | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    on_skip: OnSkip | None = None,
    progress: bool = False,
    keep_embeddings: bool | Kept = False,
    may_be_none: bool = False,
) -> Iterator[Batch]:
    """Encode a source batch by batch in row order; unreadable items are skipped and reported.

    Args:
        encoder: its ``inputs`` select pictures or features.
        source: a source of `open_source`.
        rows: row numbers (n,) of the source; all by default.
        batch_size: items per forward pass; 64 pictures or 1,024 feature rows by default.
        workers: decoding threads; one per core by default.
        on_skip: called with id and reason of each item that cannot be read.
        progress: show items per second and the remaining time on standard error.
        keep_embeddings: store float embeddings in the items' column ``embedding``: those of
            `DualEncoder.kept`, or of the kind that an index keeps.
        may_be_none: allow that no item can be read.

    Yields:
        Points (n, width) and a table of their n items.

    Raises:
        LimbeckError: there are no rows, the source lacks the features that the model reads, no item can be
            read, or a shard is damaged.
    """
    wanted, kept = _wanted(source, rows), _kept(encoder, keep_embeddings)
    done, reason = 0, ""
    with EncodingBar(progress, len(wanted)) as advance:
        for step, points, items in _steps(encoder, source, wanted, batch_size, workers, kept):
            for row, reason in step.failed:
                if on_skip is not None:
                    on_skip(_id_of(source, row), reason)
            if items is not None:
                yield points, items
            done += len(step.rows)
            advance(step.seen)
    if not done and not may_be_none:
        raise LimbeckError(
            f"encode: none of {len(wanted)} items could be read (the last: {reason})", code="E-ENCODE-EMPTY"
        )


def _kept(encoder: Encoder, wanted: bool | Kept) -> Kept | None:
    """Return which embeddings to keep; None for none.

    Raises:
        LimbeckError: the encoder does not give them.
    """
    if isinstance(wanted, bool):
        return encoder.kept if wanted else None
    if wanted.of != "unrecorded" and wanted != encoder.kept:
        raise LimbeckError(
            f"embeddings: the index ranks by the {wanted.describe()}; this model gives the "
            f"{encoder.kept.describe()}",
            code="E-INDEX-OTHER-MODEL",
        )
    return wanted


def _wanted(source: Source, rows: np.ndarray | None) -> list[int]:
    wanted = [int(row) for row in (range(len(source)) if rows is None else rows)]
    if not wanted:
        raise LimbeckError(
            "encode: there are no rows to encode; the data set or split is empty", code="E-ENCODE-EMPTY"
        )
    if isinstance(source, TableSource):  # check before hours of work; ids of folders and pairs are unique
        with contextlib.suppress(SourceDamaged):  # the error is raised when its rows are reached
            check_unique_ids(source.ids(wanted), str(source.root))
    return wanted


def _id_of(source: Source, row: int) -> str:
    return source.ids([row])[0]


def _steps(
    encoder: Encoder,
    source: Source,
    rows: Sequence[int],
    batch_size: int | None,
    workers: int | None,
    kept: Kept | None,
) -> Iterator[tuple[Step, np.ndarray, pa.Table | None]]:
    """Yield batches of rows with the points and the items of the readable ones; None without any."""
    reads = Reads.of(encoder.inputs["image"])
    features = reads.kind == "features"
    size = batch_size if batch_size is not None else 1024 if features else 64
    if size < 1:
        raise LimbeckError(f"batch_size: {size} is below 1; give 1 or more", code="E-OPTION-RANGE")
    if workers is not None and workers < 1:
        raise LimbeckError(f"workers: {workers} is below 1; give 1 or more", code="E-OPTION-RANGE")
    batches = (
        _feature_batches(encoder, reads.name, source, rows, size)
        if features
        else _picture_batches(encoder, source, rows, size, workers)
    )
    outputs: list[Output] = ["points"]
    if kept is not None:
        outputs.append("embeddings" if kept.of == "unrecorded" else "floats")
    for step, arrays in batches:
        if not step.rows:
            yield step, _NONE, None
            continue
        found = encoder.compute("image", arrays, *outputs)
        items = source.items(step.rows)
        yield step, found[0], items if kept is None else with_embeddings(items, found[1], kept)


def _feature_batches(
    encoder: Encoder, name: str, source: Source, rows: Sequence[int], size: int
) -> Iterator[tuple[Step, Arrays]]:
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        features, having = source.features(name, chunk)
        missing = set(chunk) - set(having)
        reason = Reason(f"has no features {name!r}", Kind.NO_FEATURES)
        step = Step(having, [(row, reason) for row in chunk if row in missing], len(chunk))
        yield step, encoder.collate("image", list(features)) if having else {}


def _picture_batches(
    encoder: Encoder, source: Source, rows: Sequence[int], size: int, workers: int | None
) -> Iterator[tuple[Step, Arrays]]:
    def read(row: int) -> Arrays:
        try:
            with PIXEL_BUDGET.keep():
                return encoder.collate("image", [source.open_image(row)])
        except MemoryError:
            message = (
                f"{_id_of(source, row)}: there is not enough memory to preprocess it; scale the picture down"
            )
            raise PictureError(message, Kind.TOO_LARGE) from None

    for step, parts in decoded_batches(rows, read, size, workers):
        names = parts[0] if parts else ()
        yield step, {name: np.concatenate([part[name] for part in parts]) for name in names}


def encode_source(
    encoder: Encoder,
    source: Path | str | Pairs | Source,
    out: Path | str,
    *,
    rows: np.ndarray | None = None,
    model: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: bool = False,
    replace: bool = False,
    keep_embeddings: bool = False,
) -> Encoded:
    """Encode a collection into an encoded set (docs/design.md §3.7), or resume an interrupted encoding.

    Finished rows are kept in ``OUT.part``, next to ``out``, until the set is complete.

    Args:
        encoder: the encoder.
        source: folder of pictures, pairs directory, table, or `Pairs`.
        out: directory of the encoded set; its ``skipped.jsonl`` lists the unreadable items.
        rows: row numbers (n,); all by default.
        model: the run or model directory, recorded for people to read.
        batch_size: items per forward pass; 64 pictures or 1,024 feature rows by default.
        workers: decoding threads; one per core by default.
        progress: show items per second and the remaining time on standard error.
        replace: replace an existing encoded set.
        keep_embeddings: store the float embeddings of `DualEncoder.kept`.

    Returns:
        The encoded set, opened.

    Raises:
        LimbeckError: there is nothing to encode, no item is readable, ``out`` exists, ``OUT.part`` is an
            unfinished encoding of other input, a shard is damaged, or the disk is full.
    """
    opened = open_source(source)
    wanted = _wanted(opened, rows)
    kept = _kept(encoder, keep_embeddings)
    meta = EncodedMeta(encoder.space, encoder.space_id, "image", model, opened.media_root, kept)
    check_apart(out, *source_places(opened), model)
    check_free(Path(out), replace=replace)
    # Two folders, or two tables with different picture folders, may have the same names.
    place = [identity_of(opened), opened.media_root]
    about: dict[str, Json] = {"model": meta.space_id, "source": place, "rows": sha256_json(wanted)}
    about["embeddings"] = None if kept is None else kept.to_json()
    with Parts.open(Path(out), meta, about) as parts:
        with EncodingBar(progress, len(wanted), parts.seen) as advance:
            steps = _steps(encoder, opened, wanted[parts.seen :], batch_size, workers, kept)
            for step, points, items in steps:
                failed = [(_id_of(opened, row), reason) for row, reason in step.failed]
                parts.append(points, items, failed, step.seen)
                advance(step.seen)
        if not parts.rows:
            last = parts.skipped[-1]["reason"]
            raise LimbeckError(
                f"encode: none of {len(wanted)} items could be read (the last: {last})", code="E-ENCODE-EMPTY"
            )
        with write_encoded(out, meta, replace=replace) as writer:
            for points, items in parts.batches():
                writer.append(points, items)
            writer.skipped += parts.skipped
        parts.remove()
    return Encoded.open(out)


def identity_of(source: Source) -> Any:
    """Return what must be equal for an encoding to resume."""
    return source.identity if isinstance(source, TableSource) else sha256_json(source.ids())
