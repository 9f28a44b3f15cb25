"""The common parts of importers: the source (folder or zip), options, features, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from limbeck.archives import open_archive, read_text_member
from limbeck.data.features import load_feature_file
from limbeck.data.pairs import Pairs
from limbeck.data.row_names import match_rows
from limbeck.data.schema import PAIRS
from limbeck.errors import LimbeckError
from limbeck.files import check_apart, check_new_directory
from limbeck.names import show
from limbeck.pictures import Kind, Listing, SkippedFiles, list_folder, list_zip
from limbeck.regular import regular_file
from limbeck.tables import decode_text, read_bytes, read_list, split_lines, warn_notes

Columns = dict[str, list[Any]]  # of a table of pairs, all of one length
_NOTES = 3  # files with a note on their encoding


class Source:
    """A folder or a zip file, read by relative names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_zip = path.is_file()
        if not path.exists():
            raise LimbeckError(
                f"{path}: there is no such file or folder to import from", code="E-PATH-MISSING"
            )
        if not path.is_dir():
            regular_file(path)
        if self.is_zip and path.suffix.lower() != ".zip" and not is_zipfile(path):
            raise LimbeckError(
                f"{path}: is neither a folder nor a zip file; use the folder or zip that contains it",
                code="E-PATH-KIND",
            )
        self._notes: list[str] = []

    @cached_property
    def names(self) -> list[str]:
        """The relative names of all files, sorted."""
        return sorted(self._listing.pictures + self._listing.others)

    @property
    def pictures(self) -> list[str]:
        """The relative names of the pictures, by suffix or content, sorted, without hidden ones."""
        return self._listing.pictures

    @property
    def skipped(self) -> SkippedFiles:
        """The skipped entries: not pictures, hidden, linked folders, broken links, unreadable names."""
        return self._listing.skipped

    @cached_property
    def _listing(self) -> Listing:
        return list_zip(self.path) if self.is_zip else list_folder(self.path)

    def read_bytes(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return read_text_member(self.path, name) if self.is_zip else read_bytes(self.path / name)

    def read_text(self, name: str) -> str:
        """Return the text of a file, decoded by `limbeck.tables`; its notes are kept for `reading_notes`."""
        decoded = decode_text(self.read_bytes(name), name)
        self._notes += decoded.notes
        return decoded.text

    def read_lines(self, name: str) -> list[str]:
        r"""Return the lines of a file, split only at ``\n`` and ``\r\n``."""
        return split_lines(self.read_text(name))

    def reading_notes(self) -> list[str]:
        """Return the first notes on encodings of the files read so far, and the number of others."""
        more = len(self._notes) - _NOTES
        return self._notes[:_NOTES] + ([f"{more:,} further files were not UTF-8 either"] if more > 0 else [])

    def find(self, ending: str) -> str | None:
        """Return the name that is ``ending`` or ends in ``/ending``; if several do, the one in the fewest
        folders.

        Raises:
            LimbeckError: two such files are in equally many folders.
        """
        matches = [name for name in self.names if name == ending or name.endswith("/" + ending)]
        top = min((name.count("/") for name in matches), default=0)
        first = [name for name in matches if name.count("/") == top]
        if len(first) > 1:
            raise LimbeckError(
                f"{self.path}: {show(first[0])} and {show(first[1])} both exist; remove one",
                code="E-IMPORT-CHOICE",
            )
        return next(iter(first), None)

    @property
    def media(self) -> dict[str, str]:
        """The ``media`` entry of pairs.json, with an absolute path, because pictures are not copied."""
        return {"kind": "zip" if self.is_zip else "folder", "root": str(self.path.resolve())}


@dataclass(frozen=True)
class FeatureSource:
    """Features to attach: a ``.npy`` file, the names of its rows (a text file, one per line), a scale."""

    name: str
    file: Path
    names: Path | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class ImportOptions:
    """The options of every importer; a format with more of them has its own subclass."""

    name: str | None = None
    features: tuple[FeatureSource, ...] = ()
    keep_missing: bool = False
    replace: bool = False

    def check_paths(self, src: Path, out: Path) -> None:
        """Check ``out`` before any work.

        Raises:
            LimbeckError: ``out`` exists, unless it is a pairs directory to replace, or it contains something
                that the import reads.
        """
        features = [file for source in self.features for file in (source.file, source.names)]
        values = [getattr(self, field.name) for field in fields(self)]
        check_apart(out, src, *features, *(value for value in values if isinstance(value, Path)))
        check_new_directory(out, PAIRS if self.replace else None)


@dataclass(frozen=True)
class PictureOptions(ImportOptions):
    """Options of a data set whose pictures may be apart from its lists, in the folder or zip ``images``."""

    images: Path | None = None

    def picture_source(self, lists: Source) -> Source:
        """Return the source of the pictures: ``images`` if set, else that of the lists."""
        return lists if self.images is None else Source(self.images)


@dataclass
class ImportReport:
    """The result of an import: the counts, and notes for the user."""

    name: str
    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the report as readable lines."""
        counts = ", ".join(f"{value:,} {key}" for key, value in self.counts.items())
        return [f"{self.name}: {self.rows:,} pairs ({counts})", *(f"note: {note}" for note in self.notes)]


def note_skipped(source: Source, report: ImportReport, *, used: str | None = None) -> None:
    """Add a note on the entries that the source's listing skipped.

    ``used`` is the table that is read, or an empty text: the note then names files that are no pictures, too.
    It is None for a fixed layout, which has many of these.
    """
    expected = (Kind.NOT_PICTURE,) if used is None else ()
    tables = [name for name in source.names if used and Path(used) in (Path(name), source.path / name)]
    line = source.skipped.without(*expected, names=frozenset(tables)).line()
    if line:
        report.notes.append(line)
    if twice := open_archive(source.path).repeated if source.is_zip else ():
        what = f"{len(twice):,} names occur several times in the zip; the last of each counts"
        report.notes.append(f"{what} (first: {show(twice[0])})")


def attach_features(
    columns: Columns,
    sources: tuple[FeatureSource, ...],
    report: ImportReport,
    folder: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Fill the column ``feature_row`` and return the ``features`` entry of pairs.json.

    Row names are ids, or pictures (`limbeck.data.row_names`) in ``folder``, a folder or zip. Without names
    row i of the file belongs to row i of the table.

    Raises:
        LimbeckError: file and names (or table) differ in their row counts, names match nothing or several
            rows, or two feature files have different row orders.
    """
    entries: dict[str, dict[str, Any]] = {}
    rows: list[int | None] | None = None
    for source in sources:
        file = load_feature_file(source.name, source.file, source.scale)
        if source.names is None:
            file.check_count(len(columns["id"]), "the table (use --feature-names to match by name)")
            file_rows: list[int | None] = list(range(file.count))
        else:
            names = _read_names(source.names, file.count, source.file)
            images = columns.get("image") or [None] * len(columns["id"])
            matched = match_rows(names, columns["id"], images, where=str(source.names), folder=folder)
            file_rows = matched.rows
            report.notes += [note for note in matched.notes if note not in report.notes]
        if rows is not None and file_rows != rows:
            raise LimbeckError(
                f"{source.file}: rows have another order than in the other feature file; use one order",
                code="E-IMPORT-CONFLICT",
            )
        rows = file_rows
        entries[source.name] = {"file": str(source.file.resolve()), "scale": source.scale, "rows": file.count}
    if rows is not None:
        columns["feature_row"] = rows
        report.counts["with features"] = sum(row is not None for row in rows)
    return entries


def write_pairs(
    out: Path,
    columns: Columns,
    pictures: Source,
    options: ImportOptions,
    report: ImportReport,
    label_names: Sequence[str],
    counts: Mapping[str, int],
    *,
    used: str | None = None,
) -> ImportReport:
    """Attach the features, complete the report with ``counts``, and write the pairs directory.

    For ``used`` see `note_skipped`.
    """
    features = attach_features(columns, options.features, report, pictures.path)
    report.rows = len(columns["id"])
    report.counts |= counts
    note_skipped(pictures, report, used=used)
    media = pictures.media if any(image is not None for image in columns["image"]) else None
    meta = {"name": report.name, "label_names": list(label_names), "media": media, "features": features}
    Pairs.write(out, columns, meta, replace=options.replace)
    return report


def _read_names(names_file: Path, count: int, file: Path) -> list[str]:
    """Return the names of a feature file's rows: one per line, with blanks, as in file names."""
    listed = read_list(names_file)
    warn_notes(listed.notes)
    names = [line for line in listed.lines if line.strip()]
    if len(names) != count:
        raise LimbeckError(
            f"{file}: has {count} rows, but its names file {names_file} has {len(names)}; "
            "use a features file with its own names file",
            code="E-ARRAY-ROWS",
        )
    repeated = next((name for name, times in Counter(names).items() if times > 1), None)
    if repeated is not None:
        raise LimbeckError(
            f"{names_file}: {show(repeated)} occurs twice; names must be unique", code="E-ID-REPEATED"
        )
    return names
