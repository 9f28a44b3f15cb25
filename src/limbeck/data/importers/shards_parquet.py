"""Rows of a Parquet file with a column of encoded pictures, as Hugging Face `datasets` writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from limbeck.data.importers.shard_rows import CAPTION, ShardRows
from limbeck.errors import LimbeckError
from limbeck.pictures import Kind, Place
from limbeck.tables import open_parquet, plain_table
from limbeck.tables.arrow import plain_type

_KEYS = ("id", "__key__", "key")
_LABELS = ("labels", "label", "cls")


def read_parquet_shard(
    root: Path, name: str, *, image: str | None, caption: str | None, fields: Sequence[str], checked: bool
) -> ShardRows:
    """Read the rows of a Parquet file that have a picture; faults are noted by name, and the rest is kept.

    Args:
        root: the folder of the shards.
        name: the path of the Parquet file below it.
        image: the column of pictures; default: ``image``, else the only column that holds bytes.
        caption: the column of captions; default: ``caption``, ``captions``, ``text`` or ``txt``.
        fields: further columns that are kept.
        checked: decode every picture.

    Raises:
        LimbeckError: there is no such column.
    """
    rows = ShardRows(further={name: [] for name in fields})
    try:
        file = open_parquet(root / name)
    except LimbeckError as error:
        rows.refuse(name, str(error), Kind.DAMAGED)
        return rows
    schema, where = file.schema_arrow, root / name
    pictures = _picture_column(schema, image, where)
    classes = _class_names(schema)
    texts = [caption] if caption else CAPTION
    chosen = {part: next((word for word in words if word in schema.names), None)
              for part, words in (("id", _KEYS), ("caption", texts), ("label", _LABELS))}  # fmt: skip
    for wanted in (*fields, *([caption] if caption else [])):
        if wanted not in schema.names:
            raise _no_column(where, schema, wanted)
    tags = "tags" if "tags" in schema.names else None
    listed = [own for own in (*chosen.values(), tags, *fields) if own is not None]
    at = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        try:
            read = listed + ([pictures] if checked else [])
            values = plain_table(file.read_row_group(group, columns=list(dict.fromkeys(read)))).to_pydict()
        except (pa.ArrowException, OSError) as error:
            reason = f"rows {at} to {at + count - 1} are damaged ({str(error).splitlines()[0][:120]})"
            rows.refuse(name, reason, Kind.DAMAGED)
            at += count
            continue
        for row, content in enumerate(values[pictures] if checked else [b"unread"] * count):
            place = Place(name, pictures, at + row)
            data = content.get("bytes") if isinstance(content, dict) else content
            if not rows.sound(str(place), data, checked):
                continue
            cell = {part: values[own][row] if own else None for part, own in chosen.items()}
            label = cell["label"]
            if classes and isinstance(label, int):
                label = classes[label] if 0 <= label < len(classes) else None
            key = f"{at + row:08d}" if cell["id"] is None else str(cell["id"])
            rows.add(key, str(place), cell["caption"], values[tags][row] if tags else None, label)
            for further in rows.further:
                rows.further[further].append(values[further][row])
        at += count
    return rows


def _picture_column(schema: pa.Schema, wanted: str | None, where: Path) -> str:
    """Return the column of encoded pictures.

    Raises:
        LimbeckError: there is no such column, or several.
    """
    held = [own.name for own in schema if _holds_bytes(plain_type(own.type))]
    if wanted is not None and wanted not in schema.names:
        raise _no_column(where, schema, wanted)
    found = [wanted] if wanted is not None else ["image"] if "image" in held else held
    if len(found) == 1 and found[0] in held:
        return found[0]
    what = "no column holds encoded pictures" if not held else f"the columns {', '.join(held)} hold bytes"
    raise LimbeckError(
        f"{where}: {what}; choose one with --image-column, or import paths with limbeck data import folder",
        code="E-TABLE-COLUMN",
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and pa.types.is_binary(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind))


def _no_column(where: Path, schema: pa.Schema, wanted: str) -> LimbeckError:
    return LimbeckError(
        f"{where}: there is no column {wanted!r}; columns are {', '.join(schema.names)}",
        code="E-TABLE-COLUMN",
    )


def _class_names(schema: pa.Schema) -> list[str]:
    """Return the names of the column ``label``, which `datasets` keeps in the metadata of the file."""
    try:
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        label = stored["info"]["features"]["label"]
        return [str(name) for name in label["names"]] if label["_type"] == "ClassLabel" else []
    except (KeyError, TypeError, ValueError):
        return []
