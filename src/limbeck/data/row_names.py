"""Rows of a feature file matched by name: ids or pictures of the table, one row per name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.names import clean_path, name_form, resolve, roots_of, show, without_ending

_FIX = "write ids, or the pictures' paths as in the column image"


@dataclass(frozen=True)
class MatchedRows:
    """The row of the feature file for each row of the table (None: it has none), and notes for the user."""

    rows: list[int | None]
    notes: list[str]


def match_rows(
    names: Sequence[str],
    ids: Sequence[str],
    images: Sequence[str | None],
    *,
    where: str,
    folder: Path | None = None,
) -> MatchedRows:
    """Match the names of a feature file with a table's rows.

    A name is an id, or else a picture's name by the rules of `limbeck.names`, in the end without its suffix.
    Rows of one picture share its features; otherwise each name belongs to one row.

    Args:
        names: unique names of the feature file's rows.
        ids: unique ids of the table's rows.
        images: the picture of each row, or None.
        where: the names file, for errors.
        folder: the folder or zip to which picture paths are relative.

    Raises:
        LimbeckError: no name matches; a name fits several rows, or is one row's id and another's picture.
    """
    row_of_id = {item: row for row, item in enumerate(ids)}
    rows_of: dict[str, list[int]] = {}
    for row, image in enumerate(images):
        if image is not None:
            rows_of.setdefault(image, []).append(row)
    by_id = resolve(names, ids, endings=True)
    by_image = resolve(names, rows_of, folder=folder, endings=True, pictures=True)
    weak = not any(by_image.found)  # pictures decide, where names are those of pictures
    roots = () if folder is None else roots_of(folder)

    def same(name: str, item: str, bare: bool) -> bool:
        """Return whether a name is an id in another spelling; with a picture, it must have no folder."""
        path = clean_path(name, roots)
        alike = name_form(without_ending(path)) == name_form(without_ending(item))
        return alike and (images[row_of_id[item]] is None or (bare and "/" not in path))

    taken: list[int | None] = [None] * len(ids)
    used = 0
    for at, (name, item, image) in enumerate(zip(names, by_id.found, by_image.found, strict=True)):
        exact = item is not None and by_id.rules[name] == "path"
        rows = rows_of[image] if image is not None else []
        if item is not None and (exact or not rows_of or same(name, item, weak)):
            own = row_of_id[item]
            if rows and own not in rows:
                raise LimbeckError(
                    f"{where}: {show(name)} is the id of one row and the picture {show(str(image))} of "
                    f"another; {_FIX}",
                    code="E-NAME-AMBIGUOUS",
                )
            rows = [own]
        for row in rows:
            if taken[row] is not None:
                first = show(names[taken[row] or 0])
                raise LimbeckError(
                    f"{where}: {first} and {show(name)} both fit row {show(ids[row])}; "
                    "keep one of them, with its row of features",
                    code="E-NAME-AMBIGUOUS",
                )
            taken[row] = at
        used += bool(rows)
    matched = {at for at in taken if at is not None}
    unclear = [
        name
        for at, name in enumerate(names)
        if at not in matched and name in (by_image if rows_of else by_id).unclear
    ]
    if unclear:
        why = (by_image if rows_of else by_id).why(unclear[0])
        raise LimbeckError(
            f"{where}: {len(unclear):,} names match no single row (first: {why}); {_FIX}",
            code="E-NAME-UNMATCHED",
        )
    if ids and not used:
        raise LimbeckError(
            f"{where}: no name matches an id or picture (first: {show(names[0])}, "
            f"the table's {show(ids[0])}); {_FIX}",
            code="E-NAME-UNMATCHED",
        )
    notes = by_image.notes("features") if rows_of else by_id.notes("features")
    lost = [ids[row] for row, at in enumerate(taken) if at is None]
    if lost:
        notes.append(f"{len(lost):,} rows have no features: {_some(lost)}")
    if used < len(names):
        spare = [name for at, name in enumerate(names) if at not in matched]
        notes.append(f"{len(spare):,} names of {Path(where).name} belong to no row: {_some(spare)}")
    return MatchedRows(taken, notes)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(show, names[:3])) + (", …" if len(names) > 3 else "")
