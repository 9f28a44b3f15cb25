"""From a collection to points: a folder of pictures or a pairs directory through a dual encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.errors import LimbeckError
from limbeck.index.embeddings import with_embeddings
from limbeck.index.encoded import Encoded, EncodedMeta, write_encoded
from limbeck.index.texts import table_texts

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder

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


Source = PictureFolder | PairsSource


def open_source(source: Path | str | Pairs | Source) -> Source:
    """A pairs directory, or else a folder of pictures.

    Raises:
        LimbeckError: neither of them, or damaged.
    """
    from limbeck.data.pairs import Pairs

    if isinstance(source, PictureFolder | PairsSource):
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
        raise LimbeckError(f"{source.root}: a folder of pictures has no splits; leave out --protocol")
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
        on_skip: called with id and reason of each item that cannot be read.
        progress: show items/s and the time left on standard error.
        keep_embeddings: put the embeddings that the points are made of into the items' column ``embedding``.

    Raises:
        LimbeckError: no rows, a source without the features that the model reads, or not one readable item.
    """
    kind, _, name = encoder.image_input.partition(":")
    size = batch_size if batch_size is not None else 1024 if kind == "features" else 64
    if size < 1:
        raise LimbeckError(f"batch_size: {size} is not at least 1")
    wanted = [int(row) for row in (range(len(source)) if rows is None else rows)]
    if not wanted:
        raise LimbeckError("encode: no rows to encode; the data set or split is empty")
    done, reason = 0, ""
    with _bar(progress, len(wanted)) as advance:
        for start in range(0, len(wanted), size):
            chunk = wanted[start : start + size]
            failed: dict[int, str] = {}
            images: Any
            if kind == "features":
                images, kept = source.features(name, chunk)
                failed = {row: f"has no features {name!r}" for row in set(chunk) - set(kept)}
            else:
                images, kept = _open_images(source, chunk, failed)
            for row in sorted(failed):
                reason = failed[row]
                if on_skip is not None:
                    on_skip(source.items([row]).column("id")[0].as_py(), reason)
            if kept:
                if keep_embeddings:
                    embeddings = encoder.encode_image(images, output="embeddings", batch_size=size)
                    yield encoder.points_of(embeddings), with_embeddings(source.items(kept), embeddings)
                else:
                    yield encoder.encode_image(images, batch_size=size), source.items(kept)
            done += len(kept)
            advance(len(chunk))
    if not done:
        raise LimbeckError(f"encode: not one of {len(wanted)} items could be read (the last: {reason})")


def encode_source(
    encoder: DualEncoder,
    source: Path | str | Pairs | Source,
    out: Path | str,
    *,
    rows: np.ndarray | None = None,
    model: str | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    replace: bool = False,
) -> Encoded:
    """Encode a collection into an encoded set (docs/design.md §3.7).

    Args:
        encoder: the dual encoder.
        source: folder of pictures, pairs directory, or `Pairs`.
        out: directory of the encoded set; unreadable items are listed in its ``skipped.jsonl``.
        rows: row numbers (n,); all by default.
        model: the run or model directory, recorded for people to read.
        batch_size: items in one forward pass; 64 pictures or 1,024 feature rows by default.
        progress: show items/s and the time left on standard error.
        replace: write over an existing encoded set.

    Raises:
        LimbeckError: nothing to encode or nothing readable, ``out`` exists, disk full; nothing is left then.
    """
    opened = open_source(source)
    meta = EncodedMeta(encoder.space, encoder.space_id, "image", model, opened.media_root)
    with write_encoded(out, meta, replace=replace) as writer:
        for points, items in encode_batches(
            encoder, opened, rows=rows, batch_size=batch_size, on_skip=writer.skip, progress=progress
        ):
            writer.append(points, items)
    return Encoded.open(out)


def _open_images(source: Source, rows: Sequence[int], failed: dict[int, str]) -> tuple[list[Any], list[int]]:
    images, kept = [], []
    for row in rows:
        try:
            images.append(source.open_image(row))
            kept.append(row)
        except LimbeckError as error:
            failed[row] = str(error)
    return images, kept


class _bar:
    """A progress bar on standard error, or nothing; yields a function that takes the items just done."""

    def __init__(self, shown: bool, total: int) -> None:
        self._shown, self._total = shown, total

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
        task = self._progress.add_task("encoding", total=self._total, rate="")

        def advance(count: int) -> None:
            self._progress.advance(task, count)
            speed = self._progress.tasks[0].speed
            self._progress.update(task, rate=f"{speed:,.0f} items/s" if speed else "")

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
