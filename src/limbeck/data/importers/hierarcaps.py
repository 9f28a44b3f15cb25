"""HierarCaps: pictures with chains of captions, ``id,captions,image_url``, each chain joined by ``=>``.

The layout is that of Alper and Averbuch-Elor, "Emergent Visual-Semantic Hierarchies in Image-Text
Representations" (ECCV 2024): four captions per picture, from the most general to the most specific.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from limbeck.data.caption_chains import plain_text
from limbeck.data.importers.base import ImportReport, PictureOptions, Source
from limbeck.data.importers.listed import Listed, write_listed
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text
from limbeck.tables import parse_table

_COLUMNS = ("captions", "image_url")
_JOIN = "=>"


def import_hierarcaps(src: Path, out: Path, options: PictureOptions) -> ImportReport:
    """Import one CSV file of chains; ``captions`` of the pairs go from the most specific to the most general.

    The file name at the end of ``image_url`` finds the picture in ``options.images``, else next to the file.

    Raises:
        LimbeckError: the layout is another one, a chain has one level, a caption occurs twice in its chain,
            or there are no pictures.
    """
    options.check_paths(src, out)
    source, file = _chain_file(src)
    table = parse_table(source.read_bytes(file), file, text=_COLUMNS, guess=False)
    lacking = [name for name in _COLUMNS if name not in table.names]
    if lacking:
        raise LimbeckError(
            f"{file}: has no column {lacking[0]!r}; HierarCaps has id,captions,image_url",
            code="E-TABLE-COLUMN",
        )
    report = ImportReport(options.name or "hierarcaps")
    report.notes += [*source.reading_notes(), *table.notes]
    urls, chains = (table.columns.column(name).to_pylist() for name in ("image_url", "captions"))
    listed = [
        Listed(_picture_name(url or "", table.where(row)), _chain(chain or "", table.where(row)))
        for row, (url, chain) in enumerate(zip(urls, chains, strict=True))
    ]
    if not listed:
        raise LimbeckError(f"{file}: has no rows; restore it", code="E-FILE-EMPTY")
    return write_listed(listed, options.picture_source(source), out, options, report)


def _chain(text: str, where: str) -> list[str]:
    """Return the captions of a cell, most specific first."""
    levels = [level for level in map(normalize_text, text.split(_JOIN)) if level]
    if len(levels) < 2:
        raise LimbeckError(
            f"{where}: captions has {len(levels)} level{'s'[: len(levels) != 1]}; join at least two, from "
            f"general to specific, with {_JOIN}",
            code="E-HIERARCHY-TREE",
        )
    plain = [plain_text(level) for level in levels]
    repeated = next((level for level, key in zip(levels, plain, strict=True) if plain.count(key) > 1), None)
    if repeated is not None:
        raise LimbeckError(
            f"{where}: the caption {repeated[:60]!r} occurs twice in its chain, so the chain is a cycle; "
            "remove one of the two",
            code="E-HIERARCHY-TREE",
        )
    return levels[::-1]


def _picture_name(url: str, where: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name:
        raise LimbeckError(
            f"{where}: image_url {url[:60]!r} ends in no file name; correct it", code="E-IMPORT-LAYOUT"
        )
    return name


def _chain_file(src: Path) -> tuple[Source, str]:
    if src.is_file() and src.suffix.lower() not in (".csv", ".zip"):
        raise LimbeckError(
            f"{src}: is not a CSV file; give the CSV file of the chains, or the folder or zip file with it",
            code="E-IMPORT-LAYOUT",
        )
    if src.is_file() and src.suffix.lower() == ".csv":
        return Source(src.parent), src.name
    source = Source(src)
    files = [name for name in source.names if name.lower().endswith(".csv")]
    if len(files) != 1:
        raise LimbeckError(
            f"{src}: has {len(files)} CSV files; give the file of the chains itself",
            code="E-IMPORT-CHOICE" if files else "E-IMPORT-MISSING",
        )
    return source, files[0]
