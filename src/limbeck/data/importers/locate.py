"""Search for the pictures that lists and tables name, and ids from their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from limbeck.data.importers.base import ImportReport, Source
from limbeck.errors import LimbeckError
from limbeck.names import Resolved, clean_path, resolve, show


def some(names: Sequence[str], count: int = 3) -> str:
    """Return the first few names, for a note."""
    return ", ".join(map(show, names[:count])) + (", …" if len(names) > count else "")


def find_pictures(
    source: Source,
    names: Sequence[str],
    report: ImportReport,
    *,
    list_name: str = "",
    endings: bool = False,
    keep_missing: bool = False,
) -> Resolved:
    """Find each named picture in a source by the rules of `limbeck.names`; the report counts each rule.

    Any file is found by its own path; the other rules find only pictures.

    Args:
        source: the folder or zip of the pictures.
        names: the names from the list.
        report: receives the notes.
        list_name: the list's own path in the source; names may be relative to its folder.
        endings: also find pictures by names without suffix.
        keep_missing: report names that fit several pictures, or that share one; otherwise a `LimbeckError`.
    """
    known = list(source.pictures)
    requested = {*names, *map(clean_path, names)}
    known += sorted(requested.intersection(source.names).difference(known))
    base = str(PurePosixPath(list_name).parent) if list_name else ""
    resolved = resolve(names, known, folder=source.path, base=base, endings=endings, pictures=True)
    report.notes += resolved.notes("pictures")
    if resolved.unclear:
        why = resolved.why(next(iter(resolved.unclear)))
        what = (
            f"{len(resolved.unclear):,} names fit several pictures, or one with another name (first: {why})"
        )
        if not keep_missing:
            raise LimbeckError(f"{source.path}: {what}", code="E-NAME-AMBIGUOUS")
        report.notes.append(what)
    return resolved


def note_unused(source: Source, used: Sequence[str | None], report: ImportReport) -> None:
    """Add a note on the pictures of a source that no row names."""
    taken = set(used)
    unused = [name for name in source.pictures if name not in taken]
    if unused:
        report.notes.append(f"{len(unused):,} pictures without a row were skipped: {some(unused)}")


def numbered(names: Sequence[str], form: str, where: Path, preferred: str = "") -> dict[int, str]:
    """Return the paths whose ends match ``form`` (a pattern with the number as its group), by number.

    ``preferred`` is a pattern that decides between files of one number, if exactly one matches it.

    Raises:
        LimbeckError: two files have one number; the error names ``where``, the folder or zip.
    """
    files: dict[int, list[str]] = {}
    for name in names:
        if match := re.search(f"(?:^|/){form}$", name, re.IGNORECASE):
            files.setdefault(int(match[1]), []).append(name)
    chosen = {}
    for number, fits in files.items():
        if len(fits) > 1 and preferred:
            fits = [name for name in fits if re.search(preferred, name)] or fits
        if len(fits) > 1:
            both = f"{show(fits[0])} and {show(fits[1])}"
            raise LimbeckError(
                f"{where}: {both} are both number {number}; remove one of them", code="E-IMPORT-CONFLICT"
            )
        chosen[number] = fits[0]
    return chosen


def unique_ids(paths: Sequence[str], *, folders: bool = False) -> list[str]:
    """Return a short id per picture path: its name without suffix, or more where two would be equal.

    Where names without suffix are equal, ids become names with suffix, then paths without suffix, then paths.
    With ``folders`` the folders always belong to the id. Equal paths get equal ids.
    """
    forms = [_forms(path)[2 if folders else 0 :] for path in paths]
    level = [0] * len(paths)
    while True:
        ids = [form[at] for form, at in zip(forms, level, strict=True)]
        count = Counter(ids)
        clash = [n for n, name in enumerate(ids) if count[name] > 1 and level[n] + 1 < len(forms[n])]
        if not clash:
            return ids
        for n in clash:
            level[n] += 1


def _forms(path: str) -> list[str]:
    name = PurePosixPath(path)
    return [name.stem, name.name, path.removesuffix(name.suffix), path]
