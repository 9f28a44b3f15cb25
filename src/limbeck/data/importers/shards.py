"""Import of shards: webdataset tar files (as img2dataset writes them) and Parquet with encoded pictures.

Nothing is copied or unpacked: the table holds the place of each picture, so that the pairs table is the index
of the shards.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from limbeck.data.importers.base import ImportOptions, ImportReport, attach_features
from limbeck.data.importers.listed import split_name
from limbeck.data.importers.shard_rows import Refused, ShardRows
from limbeck.data.importers.shards_parquet import read_parquet_shard
from limbeck.data.importers.shards_tar import read_tar_shard
from limbeck.data.pairs import write_into
from limbeck.data.schema import PAIRS
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir, json_text
from limbeck.pictures import SkippedFiles
from limbeck.pictures.decoding import default_workers

SKIPPED = "skipped.jsonl"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SPLIT = re.compile(r"(?:^|/)(train|training|val|valid|validation|dev|test)(?=[-_./0-9])")
_MOST = 1 << 20  # shards
_SHARD = "__shard__"


@dataclass(frozen=True)
class ShardOptions(ImportOptions):
    """The options of an import of shards.

    Attributes:
        image_column, caption_column: columns of Parquet, if they have other names.
        fields: further fields of the JSON files, or columns of Parquet, to keep.
        checked: decode every picture, and leave out those that cannot be read.
        workers: the number of shards that are read at the same time.
    """

    image_column: str | None = None
    caption_column: str | None = None
    fields: tuple[str, ...] = ()
    checked: bool = True
    workers: int | None = None


def import_shards(src: Path, out: Path, options: ShardOptions) -> ImportReport:
    """Import shards; ``out`` also gets ``skipped.jsonl``, which names what was left out.

    The id is the key of a sample, or ``SHARD/KEY`` where shards repeat keys. Folders and file names such as
    ``train-00000.tar`` give the split.

    Args:
        src: a folder of shards, at any depth, a shard, or a pattern such as ``dir/{00000..00099}.tar``.
        out: the pairs directory.
        options: see `ShardOptions`.

    Raises:
        LimbeckError: there are no shards, two kinds of them or compressed tars, or none has a picture.
    """
    root, names = find_shards(src)
    options.check_paths(root, out)
    read: Callable[[Path, str], ShardRows] = (
        partial(read_tar_shard, fields=options.fields, checked=options.checked)
        if names[0].endswith(".tar")
        else partial(
            read_parquet_shard,
            image=options.image_column,
            caption=options.caption_column,
            fields=options.fields,
            checked=options.checked,
        )
    )
    report = ImportReport(options.name or root.resolve().name)
    tables: list[pa.Table] = []
    refused: list[Refused] = []
    with ThreadPoolExecutor(options.workers or default_workers()) as pool:
        for name, rows in zip(names, pool.map(partial(read, root), names), strict=True):
            tables.append(_with_shard(rows.table, name))
            refused += rows.refused
    table = _joined(tables)
    _note(report, table, refused, len(names))
    if not len(table):
        raise LimbeckError(
            f"{src}: there is no picture in {len(names):,} shards "
            f"({report.notes[0] if refused else 'all are empty'}); give shards with pictures",
            code="E-IMPORT-MISSING",
        )
    columns = {name: table.column(name) for name in table.column_names}
    if options.features:
        listed = {name: columns[name].to_pylist() for name in ("id", "image")}
        entries = attach_features(listed, options.features, report)
        columns["feature_row"] = pa.array(listed["feature_row"], pa.int64())
    labels = pc.unique(pc.list_flatten(table.column("labels"))).drop_null().to_pylist()
    meta = {
        "name": report.name,
        "label_names": sorted(labels),
        "media": {"kind": "shards", "root": str(root.resolve())},
        "features": entries if options.features else {},
    }
    with atomic_dir(out, replaces=PAIRS if options.replace else None) as aside:
        write_into(aside, columns, meta)
        if refused:
            lines = (json_text(one.to_json()) + "\n" for one in refused)
            (aside / SKIPPED).write_text("".join(lines), encoding="utf-8", newline="\n")
    return report


def find_shards(src: Path) -> tuple[Path, list[str]]:
    """Return the folder of the shards and their paths below it, sorted.

    Parquet files next to tar files are taken for their metadata, which img2dataset writes.

    Raises:
        LimbeckError: there are no shards, or the tar files are compressed.
    """
    if "{" in str(src):
        files = _expanded(str(src))
        if missing := [file for file in files if not file.is_file()]:
            raise LimbeckError(
                f"{src}: lacks {len(missing):,} of {len(files):,} shards (first: {missing[0]}); restore them "
                "or change the numbers",
                code="E-PATH-MISSING",
            )
    elif src.is_file():
        files = [src]
    elif src.is_dir():
        files = sorted(file for file in src.rglob("*") if file.suffix in (".tar", ".parquet"))
        tars = [file for file in files if file.suffix == ".tar"]
        files = tars or files
    else:
        raise LimbeckError(f"{src}: there is no such file or folder to import from", code="E-PATH-MISSING")
    if not files or any(file.suffix not in (".tar", ".parquet") for file in files):
        raise LimbeckError(
            f"{src}: there are no shards (*.tar or *.parquet); unpack compressed ones (.tar.gz) first, since "
            "single pictures cannot be read from them",
            code="E-IMPORT-MISSING",
        )
    root = src if src.is_dir() else files[0].parent
    return root, [file.relative_to(root).as_posix() for file in files]


def _expanded(pattern: str) -> list[Path]:
    """Return the files of a pattern with one range of numbers, ``{00000..00099}``."""
    found = _BRACES.search(pattern)
    count = int(found[2]) - int(found[1]) + 1 if found else 0
    if found is None or len(_BRACES.findall(pattern)) > 1 or not 0 < count <= _MOST:
        raise LimbeckError(
            f"{pattern}: is not a pattern of shards; write one range in the file name, such as "
            "dir/{00000..00099}.tar",
            code="E-OPTION-FORM",
        )
    width = len(found[1])
    return [
        Path(pattern[: found.start()] + str(int(found[1]) + at).zfill(width) + pattern[found.end() :])
        for at in range(count)
    ]


def _with_shard(table: pa.Table, name: str) -> pa.Table:
    """Return the rows with their shard's stem, and the split that its path names (or null)."""
    found = _SPLIT.search(name)
    word = {"training": "train"}.get(found[1], found[1]) if found else None
    stem = name.rpartition(".")[0]
    table = table.append_column(_SHARD, pa.repeat(pa.scalar(stem), len(table)))
    split = pa.scalar(None if word is None else split_name(word), pa.string())
    return table.append_column("split", pa.repeat(split, len(table)))


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Join the rows of all shards; a column of several types becomes text, and repeated ids name the
    shard."""
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        kinds = [{name: table.schema.field(name).type for name in table.column_names} for table in tables]
        mixed = {name for own in kinds for name in own if len({k.get(name, own[name]) for k in kinds}) > 1}
        for at, one in enumerate(tables):
            for name in mixed.intersection(one.column_names):
                number = one.column_names.index(name)
                one = one.set_column(number, name, one.column(name).cast(pa.string()))
            tables[at] = one
        table = pa.concat_tables(tables, promote_options="permissive")
    ids = table.column("id")
    if pc.count_distinct(ids).as_py() < len(ids):
        ids = pc.binary_join_element_wise(table.column(_SHARD), ids, "/")
        table = table.set_column(table.column_names.index("id"), "id", ids)
    drop = [_SHARD] if table.column("split").null_count < len(table) else [_SHARD, "split"]
    return table.drop_columns(drop)


def _note(report: ImportReport, table: pa.Table, refused: list[Refused], shards: int) -> None:
    report.rows = len(table)
    texts = pc.list_value_length(table.column("captions"))
    report.counts = {"shards": shards, "captions": pc.sum(texts).as_py() or 0}
    skipped = SkippedFiles()
    for one in refused:
        skipped.add(one.reason.kind, one.name)
    if refused:
        report.notes.append(f"{skipped.line()}; all are listed in {SKIPPED}")
    if without := len(table) - (pc.sum(pc.greater(texts, 0)).as_py() or 0):
        report.notes.append(f"{without:,} pictures have no caption")
