"""From a collection to points: a folder of pictures or a pairs directory through a dual encoder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.decoding import SourceDamaged, Step, decoded_batches
from limbeck.encode_parts import Parts
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.index.embeddings import with_embeddings
from limbeck.index.encoded import Encoded, EncodedMeta, check_free, check_unique_ids, write_encoded
from limbeck.index.texts import table_texts
from limbeck.table_source import TableSource, is_table

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder

_NONE = np.empty((0, 0), np.float32)
OnSkip = Callable[[str, str], object]
Batch = tuple[np.ndarray, pa.Table]


class PictureFolder:
    """The pictures under a folder, at any depth, in the order of their relative paths: their ids.

    Args:
        root: the folder.
        below: a folder that holds it, which ids and paths shall be relative to; ``root`` by default.
    """

    def __init__(self, root: Path | str, below: Path | str | None = None) -> None:
        from limbeck.pictures import is_picture_name

        self.root = Path(root)
        if not self.root.is_dir():
            raise LimbeckError(
                f"{self.root}: no such directory; give pictures, a pairs directory or an encoded set"
            )
        files = (file.relative_to(self.root) for file in self.root.rglob("*") if file.is_file())
        self.names = sorted(name.as_posix() for name in files if is_picture_name(name.as_posix()))
        if not self.names:
            raise LimbeckError(
                f"{self.root}: no pictures in it (and no pairs.json or encoded.json); give another folder"
            )
        base = self.root.resolve() if below is None else Path(below)
        self.media_root: str | None = str(base)
        inside = self.root.resolve().relative_to(base).as_posix()
        self._prefix = "" if inside == "." else inside + "/"

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Ids of some rows; all by default."""
        return [self._prefix + self.names[row] for row in (range(len(self)) if rows is None else rows)]

    def open_image(self, row: int) -> Image.Image:
        """The picture of a row, RGB and upright."""
        from limbeck.pictures import open_picture

        return open_picture(self.root / self.names[row])

    def items(self, rows: Sequence[int]) -> pa.Table:
        """``id`` and ``path`` of some rows."""
        names = pa.array(self.ids(rows), pa.string())
        return pa.table({"id": names, "path": names})

    def features(self, name: str, rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """Refused: a folder of pictures has no features."""
        raise LimbeckError(
            f"{self.root}: the model reads features {name!r}, not pixels; give a pairs directory with them"
        )


class PairsSource:
    """The rows of a pairs directory as things to encode, with what shall come back with a hit."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        media = pairs.media
        self.media_root: str | None = None if media is None else str(media[1].resolve())
        table = pairs.table
        columns = {"id": table.column("id"), "path": table.column("image")}
        for name, given in (
            ("labels", "labels"),
            ("tags", "tags"),
            ("captions", "captions"),
            ("class_path", "path"),
        ):
            if (
                given in table.column_names
                and pc.any(pc.greater(pc.list_value_length(table.column(given)), 0)).as_py()
            ):
                columns[name] = table.column(given)
        self._table = pa.table(columns)

    def __len__(self) -> int:
        return len(self.pairs)

    def open_image(self, row: int) -> Image.Image:
        """The picture of a row, RGB and upright."""
        return self.pairs.open_image(row)

    def items(self, rows: Sequence[int]) -> pa.Table:
        """Id, picture path, labels, tags and captions of some rows, as far as the data set has them."""
        return self._table.take(pa.array(rows, pa.int64()))

    def ids(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Ids of some rows; all by default."""
        ids: list[str] = self._table.column("id").to_pylist()
        return ids if rows is None else [ids[row] for row in rows]

    def texts(self) -> list[str]:
        """Distinct captions, tags and class names of all rows."""
        return table_texts(self._table)

    def features(self, name: str, rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """Features (n, D) of those of the rows that have any, and these rows."""
        known = pc.is_valid(
            self.pairs.table.column("feature_row").take(pa.array(rows, pa.int64()))
        ).to_pylist()
        having = [row for row, valid in zip(rows, known, strict=True) if valid]
        return self.pairs.features(name, having), having


Source = PictureFolder | PairsSource | TableSource


def open_source(source: Path | str | Pairs | Source, *, image_column: str | None = None) -> Source:
    """A pairs directory, a table (CSV, TSV, JSON lines, Parquet) with pictures, or else a folder of pictures.

    Raises:
        LimbeckError: none of them, damaged, or an image column for what is no table.
    """
    from limbeck.data.pairs import Pairs

    if isinstance(source, Path | str) and is_table(Path(source)):
        return TableSource(source, image_column)
    if image_column is not None:
        raise LimbeckError(f"{source}: no table; leave out --image-column")
    if isinstance(source, PictureFolder | PairsSource | TableSource):
        return source
    if isinstance(source, Pairs):
        return PairsSource(source)
    if (Path(source) / "pairs.json").is_file():
        return PairsSource(Pairs.open(source))
    return PictureFolder(source)


def split_rows(source: Source, protocol: str, split: str) -> np.ndarray:
    """Rows (n,) of a split of a protocol, "query", "database" or "train"; only pairs have splits."""
    from limbeck.data.protocols import SplitName, load_protocol

    if not isinstance(source, PairsSource):
        raise LimbeckError(f"{source.root}: only pairs have splits; leave out --protocol")
    name: SplitName | None = next((known for known in get_args(SplitName) if known == split), None)
    if name is None:
        raise LimbeckError(f"split: {split!r} is not one of {', '.join(get_args(SplitName))}")
    return load_protocol(protocol).split(source.pairs, name)


def encode_batches(
    encoder: DualEncoder,
    source: Source,
    *,
    rows: np.ndarray | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    on_skip: OnSkip | None = None,
    progress: bool = False,
    keep_embeddings: bool = False,
) -> Iterator[Batch]:
    """Points and items, batch by batch in row order; what cannot be read is passed over and reported.

    Args:
        encoder: its ``image_input`` says whether pictures are opened or features looked up.
        source: from `open_source`.
        rows: row numbers (n,) of the source; all by default.
        batch_size: items in one forward pass; 64 pictures or 1,024 feature rows by default.
        workers: threads that decode pictures; one a core by default.
        on_skip: called with id and reason of each item that cannot be read.
        progress: show items/s and the time left on standard error.
        keep_embeddings: put the embeddings that the points are made of into the items' column ``embedding``.

    Raises:
        LimbeckError: no rows, a source without the features that the model reads, not one readable item, or
            a damaged shard.
    """
    wanted = _wanted(source, rows)
    done, reason = 0, ""
    with _bar(progress, len(wanted)) as advance:
        for step, embeddings in _steps(encoder, source, wanted, batch_size, workers):
            for row, reason in step.failed:
                if on_skip is not None:
                    on_skip(_id_of(source, row), reason)
            if step.rows:
                items = source.items(step.rows)
                kept = with_embeddings(items, embeddings) if keep_embeddings else items
                yield encoder.points_of(embeddings), kept
            done += len(step.rows)
            advance(step.seen)
    if not done:
        raise LimbeckError(f"encode: not one of {len(wanted)} items could be read (the last: {reason})")


def _wanted(source: Source, rows: np.ndarray | None) -> list[int]:
    wanted = [int(row) for row in (range(len(source)) if rows is None else rows)]
    if not wanted:
        raise LimbeckError("encode: no rows to encode; the data set or split is empty")
    if isinstance(source, TableSource):  # hours later is too late; folders and pairs repeat none
        with contextlib.suppress(SourceDamaged):  # which is told where it is reached
            check_unique_ids(source.ids(wanted), str(source.root))
    return wanted


def _id_of(source: Source, row: int) -> str:
    found: str = source.items([row]).column("id")[0].as_py()
    return found


def _steps(
    encoder: DualEncoder, source: Source, rows: Sequence[int], batch_size: int | None, workers: int | None
) -> Iterator[tuple[Step, np.ndarray]]:
    """Steps through the rows, each with the embeddings (n, d) of its readable ones."""
    kind, _, name = encoder.image_input.partition(":")
    size = batch_size if batch_size is not None else 1024 if kind == "features" else 64
    if size < 1:
        raise LimbeckError(f"batch_size: {size} is not at least 1")
    if workers is not None and workers < 1:
        raise LimbeckError(f"workers: {workers} is not at least 1")
    if kind == "features":
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            features, kept = source.features(name, chunk)
            missing = set(chunk) - set(kept)
            failed = [(row, f"has no features {name!r}") for row in chunk if row in missing]
            step = Step(kept, failed, len(chunk))
            if kept:
                yield step, encoder.encode_image(features, output="embeddings", batch_size=size)
            else:
                yield step, _NONE
        return
    import torch

    backbone = encoder.towers["image"].backbone

    def read(row: int) -> dict[str, torch.Tensor]:
        return dict(backbone.collate([source.open_image(row)]))

    for step, inputs in decoded_batches(rows, read, size, workers):
        if not inputs:
            yield step, _NONE
            continue
        with torch.no_grad():
            batch = {key: torch.cat([one[key] for one in inputs]).to(encoder.device) for key in inputs[0]}
            yield step, encoder.embed("image", batch).cpu().numpy()


def encode_source(
    encoder: DualEncoder,
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
    """Encode a collection into an encoded set (docs/design.md §3.7); goes on where an earlier call stopped.

    What is done is kept in ``OUT.part`` beside ``out`` until the set is whole.

    Args:
        encoder: the dual encoder.
        source: folder of pictures, pairs directory, table, or `Pairs`.
        out: directory of the encoded set; unreadable items are listed in its ``skipped.jsonl``.
        rows: row numbers (n,); all by default.
        model: the run or model directory, recorded for people to read.
        batch_size: items in one forward pass; 64 pictures or 1,024 feature rows by default.
        workers: threads that decode pictures; one a core by default.
        progress: show items/s and the time left on standard error.
        replace: write over an existing encoded set.
        keep_embeddings: as in `encode_batches`.

    Raises:
        LimbeckError: nothing to encode or nothing readable, ``out`` exists, an unfinished set of other input,
            a damaged shard, disk full.
    """
    opened = open_source(source)
    wanted = _wanted(opened, rows)
    meta = EncodedMeta(encoder.space, encoder.space_id, "image", model, opened.media_root)
    check_free(Path(out), replace=replace)
    # Names alone do not tell two folders apart, nor two tables whose pictures lie in different ones.
    place = [_identity(opened), opened.media_root]
    about: dict[str, Any] = {"model": meta.space_id, "source": place, "rows": sha256_json(wanted)}
    about["embeddings"] = keep_embeddings
    with Parts.open(Path(out), meta, about) as parts:
        with _bar(progress, len(wanted), parts.seen) as advance:
            for step, embeddings in _steps(encoder, opened, wanted[parts.seen :], batch_size, workers):
                items = opened.items(step.rows) if step.rows else None
                if items is not None and keep_embeddings:
                    items = with_embeddings(items, embeddings)
                points = embeddings if items is None else encoder.points_of(embeddings)
                failed = [(_id_of(opened, row), reason) for row, reason in step.failed]
                parts.append(points, items, failed, step.seen)
                advance(step.seen)
        if not parts.rows:
            last = parts.skipped[-1]["reason"]
            raise LimbeckError(f"encode: not one of {len(wanted)} items could be read (the last: {last})")
        with write_encoded(out, meta, replace=replace) as writer:
            for points, items in parts.batches():
                writer.append(points, items)
            writer.skipped += parts.skipped
        parts.remove()
    return Encoded.open(out)


def _identity(source: Source) -> Any:
    """What an encoding that goes on must find again."""
    return source.identity if isinstance(source, TableSource) else sha256_json(source.ids())


class _bar:
    """A progress bar on standard error, or nothing; yields a function that takes the items just done."""

    def __init__(self, shown: bool, total: int, done: int = 0) -> None:
        self._shown, self._total, self._done = shown, total, done

    def __enter__(self) -> Callable[[int], None]:
        if not self._shown:
            return lambda count: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("encoding"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._progress.start()
        task = self._progress.add_task("encoding", total=self._total, completed=self._done, rate="")

        def advance(count: int) -> None:
            self._progress.advance(task, count)
            state = self._progress.tasks[0]
            speed = state.speed or count / max(state.elapsed or 0, 1e-3)  # none yet after the first batch
            self._progress.update(task, rate=f"{speed:,.0f} items/s")

        return advance

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()


def replace_query_encoder(index: Path | str, model: Path | str | DualEncoder) -> None:
    """Give an index another query encoder: a new text tower on its codes, no item encoded again.

    Args:
        index: directory of the index.
        model: run, model directory or encoder whose image side is that of the index, as `freeze: [image]`
            leaves it.

    Raises:
        LimbeckError: no index; a model of another space; a text tower that reads label lists.
    """
    from limbeck.encoders.load import load
    from limbeck.index.encoder import replace_encoder
    from limbeck.index.writer import EncoderSource

    name = None
    if isinstance(model, Path | str):
        name, model = str(model), load(model)
    reads = model.towers["text"].backbone.reads
    if reads != "text":
        raise LimbeckError(f"{name or 'model'}: its text tower reads {reads}, not texts; take another model")
    encoder = model
    source = EncoderSource(
        lambda folder: encoder.save(folder, bundle=True),
        encoder.space_id,
        {"text": "text", "image": encoder.image_input},
    )
    replace_encoder(index, source, model=name)
