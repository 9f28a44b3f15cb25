"""Keeps one media root per index: it rewrites picture paths when pictures of another folder are added."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore


def join_root(store: IndexStore, given: str | None) -> tuple[str | None, str]:
    """Return the media root of an index after paths relative to ``given`` are added, and the paths' prefix.

    Raises:
        LimbeckError: the new pictures are outside the media root; the error says what to do.
    """
    recorded = store.manifest.media_root
    if given is None or recorded == given:
        return recorded, ""
    if recorded is None:
        if _has_paths(store):
            raise LimbeckError(
                f"{store.path}: its paths are relative to no recorded folder, these to {given}; "
                "build a separate index for them",
                code="E-INDEX-MEDIA",
            )
        return given, ""
    if Path(recorded) in Path(given).parents:
        return recorded, Path(given).relative_to(recorded).as_posix() + "/"
    raise LimbeckError(
        f"{store.path}: its paths are relative to {recorded}, the new pictures are in {given}; "
        + _advice(store, recorded, given),
        code="E-INDEX-MEDIA",
    )


def above(store: IndexStore, root: Path | str) -> str:
    """Return the prefix of an index's paths for a new media root that contains the recorded one.

    Raises:
        LimbeckError: there is no recorded root, or it is not below the new one.
    """
    recorded, wanted = store.manifest.media_root, Path(root).resolve()
    if recorded is None:
        raise LimbeckError(f"{store.path}: has no media root; leave out --media-root", code="E-INDEX-MEDIA")
    if Path(recorded) == wanted:
        return ""
    if wanted not in Path(recorded).parents or not Path(recorded).is_dir():
        raise LimbeckError(
            f"{store.path}: its paths are relative to {recorded}, which is not a folder below {wanted}; "
            "give a folder that contains it",
            code="E-INDEX-MEDIA",
        )
    return Path(recorded).relative_to(wanted).as_posix() + "/"


def with_prefix(table: pa.Table, prefix: str) -> pa.Table:
    """Return the table with a prefix added to each path; null paths stay null."""
    if not prefix or "path" not in table.column_names:
        return table
    number, column = table.column_names.index("path"), table.column("path")
    if not pa.types.is_string(column.type):
        return table
    import pyarrow.compute as pc  # slow to import, and a search does without

    return table.set_column(number, "path", pc.binary_join_element_wise(prefix, column, ""))


def _has_paths(store: IndexStore) -> bool:
    return "path" in store.schema.names and any(
        segment.items.column("path").null_count < segment.rows for segment in store.segments
    )


def _advice(store: IndexStore, recorded: str, given: str) -> str:
    if not Path(recorded).is_dir():
        return f"put them into {recorded}, or build a separate index"
    common = os.path.commonpath([recorded, given])
    return f"limbeck index compact {store.path} --media-root {common} makes both relative to {common}"
