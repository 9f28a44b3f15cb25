"""What is encoded: a folder of pictures, a pairs directory, a table; rows with ids, pictures and features."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.data.schema import further_columns
from limbeck.encoding.tables import TableSource, is_table
from limbeck.errors import LimbeckError
from limbeck.index.file_state import COLUMN as STATE
from limbeck.index.file_state import FileState, column_of, state_after
from limbeck.index.texts import table_texts

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs


class PictureFolder:
    """The pictures under a folder, at any depth, in the order of their relative paths: their ids.

    What is no picture by its ending or its first bytes, and what is hidden, a linked folder or a broken link,
    is in ``passed``, by reason.

    Args:
        root: the folder.
        below: a folder that holds it, which ids and paths shall be relative to; ``root`` by default.
    """

    def __init__(self, root: Path | str, below: Path | str | None = None) -> None:
        from limbeck.pictures import list_folder

        self._states: dict[int, FileState | None] = {}  # of pictures opened, until their items are asked for
        self.root = Path(root)
        if not self.root.is_dir():
            raise LimbeckError(
                f"{self.root}: no such directory; give pictures, a pairs directory or an encoded set"
            )
        listing = list_folder(self.root)
        self.names, self.passed = listing.pictures, listing.passed
        if not self.names:
            line = self.passed.line()
            raise LimbeckError(
                f"{self.root}: no pictures in it (and no pairs.json or encoded.json); give another folder"
                + (f" ({line})" if line else "")
            )
        self._place(self.root.resolve() if below is None else Path(below))

    def _place(self, base: Path) -> None:
        self.media_root: str | None = str(base)
        inside = self.root.resolve().relative_to(base).as_posix()
        self.prefix = "" if inside == "." else inside + "/"

    def below(self, base: Path | str) -> PictureFolder:
        """The same pictures with ids and paths relative to a folder that holds this one."""
        moved = copy.copy(self)
        moved._states = {}
        moved._place(Path(base))
        return moved

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Ids of some rows; all by default."""
        return [self.prefix + self.names[row] for row in (range(len(self)) if rows is None else rows)]

    def open_image(self, row: int) -> Image.Image:
        """The picture of a row, RGB and upright."""
        from limbeck.pictures import open_picture

        file = self.root / self.names[row]
        before = file.stat() if file.exists() else None
        picture = open_picture(file)
        # Here, in a thread that decodes, and after the picture: what may not be opened is never read.
        self._states[row] = None if before is None else state_after(file, before)
        return picture

    def items(self, rows: Sequence[int]) -> pa.Table:
        """``id`` and ``path`` of some rows, and what their files were when they were opened."""
        names = pa.array(self.ids(rows), pa.string())
        states = column_of([self._states.pop(row, None) for row in rows])
        return pa.table({"id": names, "path": names, STATE: states})

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
        columns |= {name: table.column(name) for name in further_columns(table)}
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


def open_source(
    source: Path | str | Pairs | Source,
    *,
    image_column: str | None = None,
    types: Mapping[str, str] | None = None,
    multiline: bool = False,
) -> Source:
    """A pairs directory, a table with pictures, or else a folder of pictures.

    Args:
        source: a path or what is open already.
        image_column: of a table, as ``types`` and ``multiline`` are: see `TableSource`.
        types: as above.
        multiline: as above.

    Raises:
        LimbeckError: none of them, damaged, or options of a table for what is none.
    """
    from limbeck.data.pairs import Pairs

    if isinstance(source, Path | str) and is_table(Path(source)):
        return TableSource(source, image_column, types=types, multiline=multiline)
    for option, given in (("image-column", image_column), ("types", types), ("multiline", multiline)):
        if given:
            raise LimbeckError(f"{source}: no table; leave out --{option}")
    if isinstance(source, PictureFolder | PairsSource | TableSource):
        return source
    if isinstance(source, Pairs):
        return PairsSource(source)
    if (Path(source) / "pairs.json").is_file():
        return PairsSource(Pairs.open(source))
    return PictureFolder(source)


def source_places(source: Source) -> list[Path | str | None]:
    """Directory or table of a source, and where its pictures lie: what must not be written over."""
    place = source.pairs.path if isinstance(source, PairsSource) else source.root
    return [place, source.media_root]


def split_rows(source: Source, protocol: str, split: str) -> np.ndarray:
    """Rows (n,) of a split of a protocol, "query", "database" or "train"; only pairs have splits."""
    from limbeck.data.protocol import SplitName
    from limbeck.data.protocols import load_protocol

    if not isinstance(source, PairsSource):
        raise LimbeckError(f"{source.root}: only pairs have splits; leave out --protocol")
    name: SplitName | None = next((known for known in get_args(SplitName) if known == split), None)
    if name is None:
        raise LimbeckError(f"split: {split!r} is not one of {', '.join(get_args(SplitName))}")
    return load_protocol(protocol).split(source.pairs, name)
