"""One media root an index: what it is relative to when pictures from elsewhere join."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore


def join_root(store: IndexStore, given: str | None) -> tuple[str | None, str]:
    """The media root of an index that takes paths relative to ``given``, and what to put before these.

    Raises:
        LimbeckError: the new pictures lie elsewhere; says what can be done.
    """
    recorded = store.manifest.media_root
    if given is None or recorded == given:
        return recorded, ""
    if recorded is None:
        if _has_paths(store):
            raise LimbeckError(
                f"{store.path}: its paths are relative to no recorded folder, these to {given}; "
                "build an index of its own for them"
            )
        return given, ""
    if Path(recorded) in Path(given).parents:
        return recorded, Path(given).relative_to(recorded).as_posix() + "/"
    raise LimbeckError(
        f"{store.path}: its paths are relative to {recorded}, the new pictures lie in {given}; "
        + _mend(store, recorded, given)
    )


def above(store: IndexStore, root: Path | str) -> str:
    """What to put before an index's paths for a new media root that holds the recorded one.

    Raises:
        LimbeckError: no recorded root, or one that is not below the new one.
    """
    recorded, wanted = store.manifest.media_root, Path(root).resolve()
    if recorded is None:
        raise LimbeckError(f"{store.path}: has no media root; leave out --media-root")
    if Path(recorded) == wanted:
        return ""
    if wanted not in Path(recorded).parents or not Path(recorded).is_dir():
        raise LimbeckError(
            f"{store.path}: its paths are relative to {recorded}, which is no folder below {wanted}; "
            "give a folder that holds it"
        )
    return Path(recorded).relative_to(wanted).as_posix() + "/"


def with_prefix(table: pa.Table, prefix: str) -> pa.Table:
    """The table with a prefix before each path that it has."""
    if not prefix or "path" not in table.column_names:
        return table
    number, column = table.column_names.index("path"), table.column("path")
    if not pa.types.is_string(column.type):
        return table
    return table.set_column(number, "path", pc.binary_join_element_wise(prefix, column, ""))


def _has_paths(store: IndexStore) -> bool:
    return "path" in store.schema.names and any(
        segment.items.column("path").null_count < segment.rows for segment in store.segments
    )


def _mend(store: IndexStore, recorded: str, given: str) -> str:
    if not Path(recorded).is_dir():
        return f"put them into {recorded}, or build an index of their own"
    common = os.path.commonpath([recorded, given])
    return f"limbeck index compact {store.path} --media-root {common} makes both relative to {common}"
