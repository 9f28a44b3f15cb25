"""Opens what is to be encoded: a folder of pictures, a pairs directory or a table."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from zipfile import is_zipfile

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
    """Lists the pictures below a folder, in the order of their relative paths, which are their ids.

    ``skipped`` counts by reason what is skipped: files that are not pictures by suffix or first bytes, hidden
    entries, linked folders and broken links.

    Args:
        root: the folder.
        below: a folder that contains it; ids and paths are relative to that. By default it is ``root``.
    """

    def __init__(self, root: Path | str, below: Path | str | None = None) -> None:
        from limbeck.pictures import list_folder

        self._states: dict[int, FileState | None] = {}  # of opened pictures, until `items` returns them
        self.root = Path(root)
        if not self.root.is_dir():
            raise LimbeckError(f"{self.root}: {_no_directory(self.root)}", code="E-PATH-MISSING")
        listing = list_folder(self.root)
        self.names, self.skipped = listing.pictures, listing.skipped
        if not self.names:
            line = self.skipped.line()
            raise LimbeckError(
                f"{self.root}: holds no pictures (and no pairs.json or encoded.json); give another folder"
                + (f" ({line})" if line else ""),
                code="E-ENCODE-EMPTY",
            )
        self._place(self.root.resolve() if below is None else Path(below))

    def _place(self, base: Path) -> None:
        self.media_root: str | None = str(base)
        inside = self.root.resolve().relative_to(base).as_posix()
        self.prefix = "" if inside == "." else inside + "/"

    def below(self, base: Path | str) -> PictureFolder:
        """Return the same pictures with ids and paths relative to a folder that contains this one."""
        moved = copy.copy(self)
        moved._states = {}
        moved._place(Path(base))
        return moved

    def __len__(self) -> int:
        return len(self.names)

    def ids(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Return the ids of some rows; all by default."""
        return [self.prefix + self.names[row] for row in (range(len(self)) if rows is None else rows)]

    def open_image(self, row: int) -> Image.Image:
        """Open the picture of a row, RGB and upright."""
        from limbeck.pictures import open_picture

        file = self.root / self.names[row]
        before = file.stat() if file.exists() else None
        picture = open_picture(file)
        # After the picture, so that a file that must not be opened is not read; in a decoding thread.
        self._states[row] = None if before is None else state_after(file, before)
        return picture

    def items(self, rows: Sequence[int]) -> pa.Table:
        """Return ``id`` and ``path`` of some rows, and the state of their files at opening."""
        names = pa.array(self.ids(rows), pa.string())
        states = column_of([self._states.pop(row, None) for row in rows])
        return pa.table({"id": names, "path": names, STATE: states})

    def features(self, name: str, rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """Raise an error, because a folder of pictures has no features."""
        raise LimbeckError(
            f"{self.root}: the model reads features {name!r}, not pixels; give a pairs directory with them",
            code="E-MODEL-INPUT",
        )


def _no_directory(path: Path) -> str:
    """Describe a path that is not a directory, and say what to give instead."""
    wanted = "give a folder of pictures, a pairs directory, a table or an encoded set"
    if not path.exists():
        return f"there is no such directory; {wanted}"
    if not path.is_file():
        return f"is a device, pipe or socket, not a directory; {wanted}"
    if is_zipfile(path):
        return "is a zip file, not a directory; unpack it, or import it with limbeck data import folder"
    return f"is a file, not a directory; {wanted}"


class PairsSource:
    """Gives access to the rows of a pairs directory: pictures or features, and the columns of an index."""

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
        """Open the picture of a row, RGB and upright."""
        return self.pairs.open_image(row)

    def items(self, rows: Sequence[int]) -> pa.Table:
        """Return id, picture path and the other columns of some rows that the data set has."""
        return self._table.take(pa.array(rows, pa.int64()))

    def ids(self, rows: Sequence[int] | np.ndarray | None = None) -> list[str]:
        """Return the ids of some rows; all by default."""
        ids: list[str] = self._table.column("id").to_pylist()
        return ids if rows is None else [ids[row] for row in rows]

    def texts(self) -> list[str]:
        """Return the distinct captions, tags and class names of all rows."""
        return table_texts(self._table)

    def features(self, name: str, rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        """Return features (n, D) of the rows that have some, and these rows."""
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
    """Open a pairs directory, a table with pictures, or a folder of pictures.

    Args:
        source: a path, or an opened source or `Pairs`.
        image_column: the column of pictures of a table; see `TableSource`.
        types: column types of a table; see `TableSource`.
        multiline: allow line ends in quoted fields of a table; see `TableSource`.

    Raises:
        LimbeckError: the source is invalid or damaged, or options of a table are given for another source.
    """
    from limbeck.data.pairs import Pairs

    if isinstance(source, Path | str) and is_table(Path(source)):
        return TableSource(source, image_column, types=types, multiline=multiline)
    for option, given in (("image-column", image_column), ("types", types), ("multiline", multiline)):
        if given:
            raise LimbeckError(f"{source}: is not a table; leave out --{option}", code="E-OPTION-UNUSED")
    if isinstance(source, PictureFolder | PairsSource | TableSource):
        return source
    if isinstance(source, Pairs):
        return PairsSource(source)
    if (Path(source) / "pairs.json").is_file():
        return PairsSource(Pairs.open(source))
    return PictureFolder(source)


def source_places(source: Source) -> list[Path | str | None]:
    """Return the path of a source and that of its pictures, which must not be overwritten."""
    place = source.pairs.path if isinstance(source, PairsSource) else source.root
    return [place, source.media_root]


def split_rows(source: Source, protocol: str, split: str) -> np.ndarray:
    """Return the rows (n,) of a protocol's split, "query", "database" or "train".

    Raises:
        LimbeckError: the source is not a pairs directory, or the protocol or split is unknown.
    """
    from limbeck.data.protocols import load_protocol
    from limbeck.data.resolved_splits import SplitName, resolve_splits

    if not isinstance(source, PairsSource):
        raise LimbeckError(
            f"{source.root}: only pairs have splits; leave out --protocol", code="E-OPTION-UNUSED"
        )
    name: SplitName | None = next((known for known in get_args(SplitName) if known == split), None)
    if name is None:
        raise LimbeckError(
            f"split: {split!r} is not one of {', '.join(get_args(SplitName))}", code="E-OPTION-CHOICE"
        )
    return resolve_splits(load_protocol(protocol), source.pairs).parts[name].rows
