"""Checks of a pairs table: pictures, duplicates, texts, labels, features, and a protocol's splits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from limbeck.data.duplicates import Print, alike_groups, equal_groups, fingerprint
from limbeck.data.features import FeatureFile, load_feature_file
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.relevance import WARN_ABOVE, Relevance, relevance
from limbeck.data.resolved_splits import ResolvedSplits, resolve_splits
from limbeck.errors import LimbeckError
from limbeck.typed import Json

Progress = Callable[[int, int], None]
Level = Literal["error", "warning", "note"]
_AT_ONCE = 512
_IDS = 4  # ids per group in the readable report


@dataclass(frozen=True)
class Finding:
    """One kind of finding: its level, count, meaning, and each case (ids, or ids with numbers)."""

    kind: str
    level: Level
    count: int
    what: str
    items: Sequence[Json] = field(default_factory=list)


@dataclass
class Report:
    """All findings in a pairs table."""

    pairs: str
    name: str
    rows: int
    protocol: str | None = None
    protocol_hash: str | None = None
    relevance: Relevance | None = None
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, kind: str, level: Level, what: str, items: Sequence[Json]) -> None:
        """Add a finding, unless it has no cases."""
        if items:
            self.findings.append(Finding(kind, level, len(items), what, items))

    def number(self, level: Level) -> int:
        """Count the findings (kinds, not cases) of a level."""
        return sum(finding.level == level for finding in self.findings)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form, with every case listed."""
        return {"format": "limbeck.check/1", **asdict(self)}

    def lines(self) -> list[str]:
        """Return the findings as text, worst first, each with its first cases."""
        about = f", protocol {self.protocol}" if self.protocol else ""
        head = f"{self.name}: {self.rows:,} pairs{about}" + ("" if self.findings else ", nothing found")
        order = {"error": 0, "warning": 1, "note": 2}
        body = [
            f"{f.level:<8}{f.count:>8,}  {f.what}: {', '.join(map(_case, f.items[:3]))}"
            + (" …" if f.count > 3 else "")
            for f in sorted(self.findings, key=lambda f: order[f.level])
        ]
        return [head, *body]


def check_pairs(
    pairs: Pairs,
    protocol: Protocol | None = None,
    progress: Progress | None = None,
    *,
    pictures: bool = True,
) -> Report:
    """Check a pairs table; faults become findings, not exceptions.

    Args:
        pairs: the table; open it with ``strict=False``, so that its faults are listed instead of raised.
        protocol: also check its splits, and duplicates between its queries and its database or train part.
        progress: called with (pictures done, all pictures).
        pictures: whether to open the pictures.
    """
    started = time.monotonic()
    report = Report(str(pairs.path), pairs.name, len(pairs))
    alike = _check_pictures(pairs, report, progress) if pictures else []
    _check_texts(pairs, report)
    _check_features(pairs, report)
    if protocol is None:
        _check_all_relevant(pairs, report)
    else:
        _check_protocol(pairs, protocol.on(pairs), alike, report)
    report.seconds = round(time.monotonic() - started, 2)
    return report


def _case(item: object) -> str:
    if isinstance(item, dict) and "ids" not in item:
        return f"{item['id']} ({item['reason']})"
    ids = item["ids"] if isinstance(item, dict) else item
    if not isinstance(ids, list):
        return str(ids)
    more = len(ids) - _IDS
    return " = ".join(ids[:_IDS]) + (f" = … ({more:,} more)" if more > 0 else "")


# ------------------------------------------------------------------------------ pictures
def _check_pictures(pairs: Pairs, report: Report, progress: Progress | None) -> list[list[int]]:
    """Report missing, unreadable and duplicate pictures; return groups of rows whose pictures look alike."""
    if pairs.media is None:
        report.add("no_media", "note", "no pictures: features only", [pairs.name])
        return []
    images = pairs.table.column("image")
    rows = [row for row, image in enumerate(images.to_pylist()) if image is not None]
    without = sorted(set(range(len(pairs))) - set(rows))
    report.add("no_picture", "warning", "rows without a picture", [pairs.ids[row] for row in without])
    missing, unreadable, kept, prints = [], [], [], []
    for done, (row, result) in enumerate(_fingerprints(pairs, rows), start=1):
        if isinstance(result, Print):
            kept.append(row)
            prints.append(result)
        elif isinstance(result, _Missing):
            missing.append({"id": pairs.ids[row], "reason": result.reason})
        else:
            unreadable.append({"id": pairs.ids[row], "reason": result})
        if progress is not None:
            progress(done, len(rows))
    report.add("missing_pictures", "error", "pictures that do not exist", missing)
    report.add("unreadable_pictures", "error", "pictures that cannot be read", unreadable)
    return find_duplicates(pairs, kept, prints, report)


@dataclass(frozen=True)
class _Missing:
    reason: str


def _fingerprints(pairs: Pairs, rows: list[int]) -> Iterator[tuple[int, Print | _Missing | str]]:
    """Yield the fingerprint of each row's picture, or the reason why there is none; in order, on a few
    threads."""

    def one(row: int) -> Print | _Missing | str:
        try:
            data = pairs.image_bytes(row)
        except LimbeckError as error:
            return _Missing(str(error))
        try:
            return fingerprint(data, str(pairs.image_path(row)))
        except LimbeckError as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            yield from zip(part, pool.map(one, part), strict=True)


def find_duplicates(pairs: Pairs, rows: list[int], prints: list[Print], report: Report) -> list[list[int]]:
    """Report identical and look-alike pictures; return groups of rows that show the same picture."""
    groups = equal_groups([p.content for p in prints])
    exact = [[pairs.ids[rows[at]] for at in group] for group in groups]
    report.add("exact_duplicates", "warning", "groups of identical pictures", exact)
    # One picture represents each group in the search for look-alikes.
    stands_for = {group[0]: group for group in groups}
    shadowed = {at for group in groups for at in group[1:]}
    single = [at for at in range(len(prints)) if at not in shadowed]
    near, cut = alike_groups([prints[at] for at in single])
    items: list[Json] = [
        {
            "ids": [pairs.ids[rows[single[at]]] for at in group.members],
            "likeness": round(group.likeness, 4),
        }
        for group in near
    ]
    report.add("near_duplicates", "warning", "groups of pictures that look alike", items)
    if cut:
        report.add(
            "near_duplicates_cut",
            "note",
            "too many similar pictures: not every pair was compared",
            [pairs.name],
        )
    same = []
    for group in near:
        own = [single[at] for at in group.members]
        same.append(sorted(member for at in own for member in stands_for.pop(at, [at])))
    return sorted([rows[at] for at in group] for group in (*same, *stands_for.values()))


# ------------------------------------------------------------------------------ texts, labels, features
def _check_texts(pairs: Pairs, report: Report) -> None:
    for column, kind, what in (
        ("captions", "empty_captions", "rows without a caption"),
        ("tags", "empty_tags", "rows without a tag"),
        ("labels", "unlabeled", "rows without a label"),
    ):
        texts = pairs.texts(column)
        empty = [pairs.ids[row] for row, items in enumerate(texts) if not any(item.strip() for item in items)]
        if len(empty) == len(pairs):
            report.add(f"no_{column}", "note", f"the data set has no {column}", [pairs.name])
        else:
            report.add(kind, "warning", what, empty)
    report.add("unknown_labels", "error", "labels missing from label_names", pairs.unknown_labels)
    if pairs.label_names and len(pairs):
        used = np.asarray(pairs.labels().any(axis=0))
        unused = [name for name, is_used in zip(pairs.label_names, used.tolist(), strict=True) if not is_used]
        report.add("unused_labels", "note", "labels that no row has", unused)


def _check_features(pairs: Pairs, report: Report) -> None:
    rows = pairs.feature_rows
    for name, entry in (pairs.meta.get("features") or {}).items():
        problems = []
        try:
            file = load_feature_file(name, pairs.path / str(entry["file"]), float(entry.get("scale", 1.0)))
            if entry.get("rows") is not None:
                file.check_count(int(entry["rows"]), "pairs.json")
            file.check_rows(rows)
            problems = _bad_rows(file)
        except LimbeckError as error:
            problems = [str(error)]
        report.add("features", "error", f"faults of features {name!r}", problems)
    if pairs.meta.get("features"):
        without = [pairs.ids[row] for row in np.flatnonzero(rows < 0).tolist()]
        report.add("no_features", "warning", "rows without features", without)
        used, count = np.unique(rows[rows >= 0], return_counts=True)
        shared = [int(row) for row in used[count > 1].tolist()]
        report.add("shared_features", "warning", "feature rows used by several pairs", shared)


def _bad_rows(file: FeatureFile) -> list[str]:
    if file.matrix.dtype.kind != "f":
        return []
    bad = [
        start + int(at)
        for start in range(0, file.count, 4096)
        for at in np.flatnonzero(~np.isfinite(file.matrix[start : start + 4096]).all(axis=1))
    ]
    return [f"{file.path}: row {row} contains NaN or infinity" for row in bad]


# ------------------------------------------------------------------------------ protocol
def _check_protocol(pairs: Pairs, protocol: Protocol, alike: list[list[int]], report: Report) -> None:
    report.protocol, report.protocol_hash = protocol.name, protocol.hash
    try:
        splits = resolve_splits(protocol, pairs)
    except LimbeckError as error:
        report.add("splits", "error", "the splits are not valid", [str(error)])
        return
    if splits.note is not None:
        report.add("drawn", "note", "splits by rule", [splits.note])
    try:
        _ = splits.classes
    except LimbeckError as error:
        report.add("classes", "error", "classification does not fit the data set", [str(error)])
    query = splits.query
    silent = [own for own, shown in zip(query.ids, query.texts, strict=True) if not any(shown)]
    level: Level = "error" if len(silent) == len(query) else "warning"
    report.add("query_without_text", level, "queries without a text to show", silent)
    if protocol.relevance == "shared_label":
        unlabeled = query.take(~query.labels.any(axis=1)).ids
        report.add("query_without_label", "warning", "queries without a label or relevant item", unlabeled)
        _check_relevance(splits, report)
        there = splits.train.labels.any(axis=0)
        unseen = [pairs.label_names[column] for column in np.flatnonzero(~there).tolist()]
        report.add("untrained_labels", "warning", "labels that no training row has", unseen)
    asked = set(query.rows.tolist())
    for name, part in (("database", splits.database), ("train", splits.train)):
        if part is query:
            continue
        others = set(part.rows.tolist())
        leaks = [
            [pairs.ids[row], pairs.ids[shared[0]]]
            for group in alike
            if (shared := [row for row in group if row in others])
            for row in group
            if row in asked
        ]
        report.add(f"leaks_{name}", "warning", f"queries whose picture, or a look-alike, is in {name}", leaks)


def _check_all_relevant(pairs: Pairs, report: Report) -> None:
    """Check all labelled rows, each as a query and as an item of the database (without a protocol)."""
    labels = pairs.labels()
    labels = labels[labels.any(axis=1)]
    share = relevance(labels, labels, pairs.label_names)
    if share is None:
        return
    report.relevance = share
    if share.share > WARN_ABOVE:
        what = f"with every labelled row as query and in the database, {share.in_words}"
        report.add("relevant_pairs", "warning", what, [share.label])


def _check_relevance(splits: ResolvedSplits, report: Report) -> None:
    """Report queries whose labels no database item has: metrics skip them (or follow the protocol's rule)."""
    pairs, query, items = splits.pairs, splits.query, splits.database.labels
    has_relevant = (query.labels & items.any(axis=0)).any(axis=1)
    lost = query.take(query.labels.any(axis=1) & ~has_relevant).ids
    report.add("query_without_relevant", "warning", "queries whose labels no database item has", lost)
    share = relevance(query.labels, items, pairs.label_names)
    if share is not None and has_relevant.any():
        level: Level = "warning" if share.share > WARN_ABOVE else "note"
        report.relevance = share
        report.add("relevant_pairs", level, share.in_words, [share.label])
    if not has_relevant.any():
        report.add("nothing_relevant", "error", "no query has a relevant item", [pairs.name])
