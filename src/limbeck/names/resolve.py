"""The resolver: it applies one rule after another and counts each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from limbeck.names.ends import Side, agree, find_by_end
from limbeck.names.paths import clean_path, name_form, roots_of, show, without_ending

_WORDING = {
    "path": "by their path",
    "separators": "once separators and prefixes were normalised",
    "form": "by another Unicode form or without blanks at the ends",
    "end": "by the end of their path",
    "file name": "by file name alone",
    "no ending": "by their name without suffix",
}
_PATHS = ("path", "separators")
_BY_END = ("end", "no ending")


@dataclass
class Resolved:
    """The result of `resolve`.

    Attributes:
        found: the known name of each requested name, in order; None where there is none.
        rules: the rule that found each name, by name.
        by: the number of distinct names per rule.
        first: an example per rule, (requested, known).
        unclear: names that fit several known ones, or share one with another name, each with the reason.
        near: for names that nothing fits, a known name of the same file name.
        cased: for names that nothing fits, the known name that differs in letter case alone.
    """

    found: list[str | None] = field(default_factory=list)
    rules: dict[str, str] = field(default_factory=dict)
    by: dict[str, int] = field(default_factory=dict)
    first: dict[str, tuple[str, str]] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)
    cased: dict[str, str] = field(default_factory=dict)

    def notes(self, what: str) -> list[str]:
        """Return one line of counts per rule, if any rule other than the path was needed."""
        if not set(self.by) - {"path"}:
            return []
        parts = []
        for rule, words in _WORDING.items():
            if rule in self.by:
                asked, known = self.first[rule]
                shown = "" if rule == "path" else f" (first: {show(asked)} → {show(known)})"
                parts.append(f"{self.by[rule]:,} {words}{shown}")
        return [f"{what} found: {', '.join(parts)}"]

    def why(self, name: str) -> str:
        """Return a name that was not found, with the reason if one is known."""
        if name in self.unclear:
            return f"{show(name)}: {self.unclear[name]}"
        if name in self.cased:
            return f"{show(name)}; {show(self.cased[name])} differs in letter case only, write it like that"
        near = self.near.get(name)
        return show(name) + (f"; another folder has {show(near)}" if near is not None else "")


def resolve(
    requested: Sequence[str],
    known: Iterable[str],
    *,
    folder: Path | None = None,
    base: str = "",
    endings: bool = False,
    pictures: bool = False,
) -> Resolved:
    """Find each requested name among the known ones; equal names get the same one.

    Args:
        requested: names as a table or list gives them.
        known: existing names: files of a folder or zip, rows of a feature file.
        folder: the folder or zip to which known names are relative; requested names may include its path.
        base: an inner folder to which requested names may be relative as well (that of the list).
        endings: also match names without suffix (rule 6).
        pictures: known names are pictures, so that any suffix of theirs may be missing.
    """
    result = Resolved()
    matched: dict[str, tuple[str, str]] = {}
    there = dict.fromkeys(known)
    names = list(dict.fromkeys(requested))

    def rest() -> list[str]:
        return [name for name in names if name not in matched and name not in result.unclear]

    inner = clean_path(base)
    joined = {name: clean_path(f"{inner}/{name}") for name in names} if inner else {}
    if inner:
        fits = {n: [m for m in (n, joined[n]) if m in there] for n in names}
        _match_paths("path", fits, matched, result)
    else:
        matched.update((name, ("path", name)) for name in names if name in there)
    if todo := rest():
        plain = {name: clean_path(name) for name in there}
        at: dict[str, list[str]] = {}
        for name, path in plain.items():
            at.setdefault(path, []).append(name)
        folder_name = folder.resolve().name if folder is not None else ""
        roots = () if folder is None else roots_of(folder)
        # "photos/1.jpg" is relative to the working directory, unless there is an inner folder "photos".
        roots = tuple(r for r in roots if r.startswith("/") or not any(p.startswith(r + "/") for p in at))
        paths = {name: clean_path(name, roots) for name in names}
        fits = {n: at.get(paths[n], []) + at.get(joined.get(n, ""), []) for n in todo}
        _match_paths("separators", fits, matched, result)
        tops = [
            t for t in _common_folders(plain.values()) if not any(p.startswith(t) for p in paths.values())
        ]
        if tops:
            # By far the most frequent "end": all known names are below one folder that no request names.
            fits = {n: [m for t in tops for m in at.get(t + paths[n], [])] for n in rest() if "/" in paths[n]}
            _match_paths("end", fits, matched, result)
        for drop in (False, True) if endings else (False,):
            if todo := rest():
                drops = (
                    (without_ending, partial(without_ending, is_picture=pictures)) if drop else (None, None)
                )
                sides = Side(paths, drops[0]), Side(plain, drops[1], folder_name)
                _match_keys(todo, sides, matched, result, "no ending" if drop else "")
        if any(rule in _BY_END for rule, _ in matched.values()):
            _one_prefix(matched, paths, plain, result)
        if todo := rest():
            folded = {name_form(path).casefold(): name for name, path in plain.items()}
            for name in todo:
                spelled = [name_form(path).casefold() for path in (paths[name], joined.get(name, ""))]
                if other := next((folded[path] for path in spelled if path in folded), None):
                    result.cased[name] = other
    _finish(requested, matched, result)
    return result


def _one_prefix(
    matched: dict[str, tuple[str, str]], paths: dict[str, str], plain: dict[str, str], result: Resolved
) -> None:
    """Drop matches by an end whose file name repeats, unless all names lack one and the same prefix.

    Where some names are complete paths, ``a/b/1.jpg`` is not ``b/1.jpg``: its folder does not exist.
    """
    mine, theirs = (Counter(map(_bare, set(side.values()))) for side in (paths, plain))
    prefixes, doubtful = set(), []
    for name, (rule, known) in matched.items():
        if rule not in _BY_END:
            prefixes |= {("", "")} if rule != "file name" else set()
        elif mine[_bare(paths[name])] > 1 or theirs[_bare(plain[known])] > 1:
            doubtful.append(name)
            prefixes.add(_prefixes(paths[name], plain[known]))
    if len(prefixes) > 1:
        for name in doubtful:
            result.unclear[name] = f"{show(matched[name][1])} is below another folder; write its path"


def _bare(path: str) -> str:
    return without_ending(name_form(path).rpartition("/")[2])


def _prefixes(one: str, other: str) -> tuple[str, str]:
    """Return the first folders of two paths, without their common end."""
    parts = [name_form(path).split("/")[:-1] for path in (one, other)]
    while parts[0] and parts[1] and parts[0][-1] == parts[1][-1]:
        parts = [side[:-1] for side in parts]
    return "/".join(parts[0]), "/".join(parts[1])


def _common_folders(paths: Collection[str]) -> list[str]:
    """Return the folders above all paths, each with a final ``/``: ``a/``, ``a/b/``."""
    low, high = min(paths, default=""), max(paths, default="")
    above = (low[: at + 1] for at, letter in enumerate(low) if letter == "/")
    return [folder for folder in above if high.startswith(folder)]


def _match_paths(
    rule: str, fits: dict[str, list[str]], matched: dict[str, tuple[str, str]], result: Resolved
) -> None:
    for name, candidates in fits.items():
        distinct = candidates if len(candidates) < 2 else list(dict.fromkeys(candidates))
        if len(distinct) == 1:
            matched[name] = (rule, distinct[0])
        elif distinct:
            result.unclear[name] = _several(distinct)


def _shared(known: str, other: str) -> str:
    return f"{show(known)} also fits {show(other)}; write its path"


def _several(fits: Sequence[str]) -> str:
    if len(fits) == 1:
        return f"{show(fits[0])} also fits other names; write its path"
    shown = ", ".join(map(show, fits[:3])) + (", …" if len(fits) > 3 else "")
    return f"fits {len(fits)} ({shown}); write its path"


def _match_keys(
    todo: list[str],
    sides: tuple[Side, Side],
    matched: dict[str, tuple[str, str]],
    result: Resolved,
    rule: str,
) -> None:
    """Apply rules 3 to 5 to the keys of both sides (reported under ``rule`` if it is given)."""
    mine, theirs = sides
    for name in todo:
        key = mine.key[name]
        if key in theirs.at:
            step, target = "form", key
        else:
            step, target, fits = find_by_end(key, mine, theirs)
        if not target:
            known = [theirs.at[fit][0] for fit in fits]
            if fits and agree(key, fits[0], mine, theirs):
                result.unclear[name] = _several(known)
            elif fits:
                result.near[name] = known[0]
        elif len(theirs.at[target]) > 1:
            result.unclear[name] = _several(theirs.at[target])
        elif len(mine.at[key]) > 1:
            other = next(other for other in mine.at[key] if other != name)
            result.unclear[name] = _shared(theirs.at[target][0], other)
        else:
            matched[name] = (rule or step, theirs.at[target][0])


def _finish(requested: Sequence[str], matched: dict[str, tuple[str, str]], result: Resolved) -> None:
    """Drop a file that two names got, unless both are its path, and complete the result."""
    owner: dict[str, str] = {}
    weak: list[tuple[str, tuple[str, str]]] = []
    for name, (rule, known) in matched.items():
        if rule in _PATHS:
            owner.setdefault(known, name)
        else:
            weak.append((name, (rule, known)))
    order = {rule: at for at, rule in enumerate(_WORDING)}
    for name, (rule, known) in sorted(weak, key=lambda item: order[item[1][0]]):
        holder = owner.setdefault(known, name)
        if holder != name:
            result.unclear[name] = _shared(known, holder)
            if matched[holder][0] == rule:
                result.unclear[holder] = _shared(known, name)
    for name in matched.keys() & result.unclear.keys():
        del matched[name]
    for name, (rule, known) in matched.items():
        result.rules[name] = rule
        result.by[rule] = result.by.get(rule, 0) + 1
        result.first.setdefault(rule, (name, known))
    result.found = [matched[name][1] if name in matched else None for name in requested]
