"""Compare results: mean and standard deviation over seeds, and paired differences from a base."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.evaluation.results import DIRECTIONS, GROUPS, Result, load_results, same_protocol
from limbeck.metrics import holm, paired_test, summarize

LEVEL = 0.05
LOWER_IS_BETTER = {"median_rank", "tie", "lca"}
# Secondary metrics of hash codes: mAP without trained items, NDCG, precision at 100, hash look-up.
BESIDE = (
    "map_unseen", "ndcg@100", "ndcg@1000", "p@100", "lookup_precision", "lookup_recall", "lookup_answered",
)  # fmt: skip
# The seed suffix of a run's folder name.
_SEED = re.compile(r"[-_]?s(eed)?\d+$")
# These groups describe the embedding and are not judged: they get no best value and no differences.
DESCRIPTIVE = ("cone", "radius")


@dataclass(frozen=True)
class Difference:
    """The difference of a group from the base, paired by split and seed.

    Attributes:
        base: label of the base.
        seeds: the seeds that both have.
        mean: mean of group minus base.
        low, high: 95 % t interval; None for one pair.
        p: p value of the paired t test; None where it cannot be computed.
        p_holm: p value after Holm's correction within the table.
    """

    base: str
    seeds: list[int]
    mean: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None

    @property
    def counts(self) -> bool:
        """Whether the difference is significant: p after Holm's correction is below .05."""
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Group:
    """Runs of one method in one space that differ in the seed or in the draw of the protocol only.

    Attributes:
        label: name of the row.
        space: name of the space.
        bits: length of the codes; None for other spaces.
        results: one result per run.
        values: column → one value per result, in the order of ``results``. Columns are ``i2t map``,
            ``t2i r@1`` …, and ``mean`` of the two directions. Of the secondary columns (``zero_shot top1`` …)
            it holds those that all its results have.
        differences: column → difference from the base; empty for the base itself.
    """

    label: str
    space: str
    bits: int | None
    results: list[Result]
    values: dict[str, list[float]]
    differences: dict[str, Difference]

    @property
    def seeds(self) -> list[int | None]:
        """The seeds of the results."""
        return [result.seed for result in self.results]

    def mean(self, column: str) -> float:
        """Return the mean of a column over the results."""
        return summarize(self.values[column]).mean

    def spread(self, column: str) -> float | None:
        """Return the standard deviation of a column over the results (n − 1); None for one result."""
        return summarize(self.values[column]).sd


@dataclass(frozen=True)
class Comparison:
    """A table of the groups of one protocol.

    Attributes:
        protocol: its name; with several draws, all their names (`mirflickr15k/dcmh, @1, @2`).
        protocol_hash: its hash; with several draws, the hash that they share.
        task: ``hashing`` or ``retrieval``.
        columns: the columns that every group has, in the order shown.
        groups: the rows of the table.
        base: label of the group that the others are compared with; None without one.
        best: (bits, column) → label of the group with the best mean among those with equal bits. A column
            that fewer than two of these groups have is left out.
        further: columns that belong to no direction (`GROUPS`). At least one group has each of them, so that
            a model without cones can be compared with one that has them.
        beside: secondary metrics of a direction (`BESIDE`) that at least one group has. ``map_unseen`` gets
            differences, too.
    """

    protocol: str
    protocol_hash: str
    task: str
    columns: list[str]
    groups: list[Group]
    base: str | None
    best: dict[tuple[int | None, str], str]
    further: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return all figures as a JSON object."""
        return {
            "protocol": self.protocol,
            "protocol_hash": self.protocol_hash,
            "task": self.task,
            "base": self.base,
            "groups": [_group_json(group) for group in self.groups],
        }


def compare(
    sources: Sequence[Path | str | Result], *, base: str | None = None, protocol: str | None = None
) -> Comparison:
    """Compare results in one table (ours: a paired t test per column with Holm's correction per table).

    Args:
        sources: results, result files, packs of rows, or run directories (every ``result*.json`` in them).
        base: label of the method that the others are compared with, at equal bits. Without it there are no
            differences.
        protocol: name of a protocol, or a pattern such as ``mirflickr15k/dcmh*``. Results of other protocols
            are left out. You need it for runs that were evaluated by several protocols.

    Raises:
        LimbeckError: there are no sources; a directory has no results; the results are of several protocols;
            no result has the label ``base``.
    """
    if not sources:
        raise LimbeckError("there is nothing to compare; name runs or result files")
    given = [source for source in sources if isinstance(source, Result)]
    results = given + load_results([source for source in sources if not isinstance(source, Result)])
    if protocol is not None:
        results = [result for result in results if fnmatch.fnmatchcase(result.protocol, protocol)]
        if not results:
            raise LimbeckError(f"--protocol {protocol}: no result of this protocol; evaluate by it first")
    same_protocol(results)
    columns, further = _columns(results), _further_columns(results)
    beside = [f"{way} {name}" for way in DIRECTIONS for name in BESIDE]
    beside = [column for column in beside if any(_has(result, column) for result in results)]
    groups = [
        Group(label, str(space), bits, members, _values(members, [*columns, *further, *beside]), {})
        for (label, space, bits), members in _grouped(results).items()
    ]
    further = [column for column in further if any(column in group.values for group in groups)]
    judged = [column for column in further if column.split()[0] not in DESCRIPTIVE]
    if base is not None:
        unseen = [column for column in beside if column.endswith(" map_unseen")]
        groups = _with_differences(groups, [columns, judged, unseen], base)
    best = _best(groups, [*columns, *judged, *beside])
    name, digest = _pooled(results)
    return Comparison(name, digest, results[0].task, columns, groups, base, best, further, beside)


def _pooled(results: Sequence[Result]) -> tuple[str, str]:
    """Return name and hash of the protocol of the results, or of its draws."""
    first, *others = sorted({result.protocol for result in results})
    if not others:
        return first, results[0].protocol_hash
    return ", ".join([first, *("@" + other.rpartition("@")[2] for other in others)]), results[0].pool


def _columns(results: Sequence[Result]) -> list[str]:
    """List the columns (direction and metric) that all results have; floor and ceiling are left out."""
    names = [name for name in results[0].metrics.get(_directions(results[0])[0], {}) if _is_score(name)]
    columns = [f"{direction} {name}" for direction in DIRECTIONS for name in names]
    columns = [c for c in columns if all(_has(result, c) for result in results)]
    if not columns:
        raise LimbeckError("the results have no metric in common; compare results of the same directions")
    if {c.split()[0] for c in columns} == set(DIRECTIONS) and "i2t map" in columns:
        columns.append("mean map")
    return columns


def _further_columns(results: Sequence[Result]) -> list[str]:
    """List the columns of no direction that at least one result has, group by group."""
    named = [f"{group} {name}" for group in GROUPS for r in results for name in r.metrics.get(group, {})]
    return [column for column in dict.fromkeys(named) if column != "zero_shot chance"]


def _values(members: Sequence[Result], columns: Sequence[str]) -> dict[str, list[float]]:
    """Return the values of the columns that all members of a group have."""
    common = [c for c in columns if c.startswith("mean ") or all(_has(result, c) for result in members)]
    return {column: [_value(result, column) for result in members] for column in common}


def _directions(result: Result) -> list[str]:
    return [direction for direction in DIRECTIONS if direction in result.metrics] or list(DIRECTIONS[:1])


def _is_score(name: str) -> bool:
    return name in {"map", "median_rank"} or name.startswith("r@")


def _has(result: Result, column: str) -> bool:
    direction, name = column.split()
    return name in result.metrics.get(direction, {})


def _value(result: Result, column: str) -> float:
    direction, name = column.split()
    if direction == "mean":
        return float(sum(result.metrics[d][name] for d in DIRECTIONS) / len(DIRECTIONS))
    return result.metrics[direction][name]


def _grouped(results: Sequence[Result]) -> dict[tuple[str, str, int | None], list[Result]]:
    """Group results by label, space and bits.

    Runs of one recipe with different overrides are not repeats of each other; they are grouped by folder name
    without the seed. Where a group holds a seed twice on one split, each of its runs becomes a group.
    """
    by_label: dict[tuple[str, str, int | None], list[Result]] = {}
    for result in results:
        by_label.setdefault((result.label, str(result.space.get("name")), result.bits), []).append(result)
    groups: dict[tuple[str, str, int | None], list[Result]] = {}
    for (label, space, bits), members in by_label.items():
        for name, repeats in _by_settings(label, members).items():
            groups[name, space, bits] = repeats
    done: dict[tuple[str, str, int | None], list[Result]] = {}
    for (label, space, bits), members in groups.items():
        if len({member.observation for member in members}) == len(members):
            done[label, space, bits] = sorted(
                members, key=lambda r: (r.protocol, -1 if r.seed is None else r.seed)
            )
            continue
        for member in members:
            key = (f"{label} ({Path(member.run).name})", space, bits)
            if key in done:
                raise LimbeckError(f"{member.run}: given twice (seed {member.seed}); name each run once")
            done[key] = [member]
    return done


def _by_settings(label: str, members: list[Result]) -> dict[str, list[Result]]:
    """Group runs of one label by their recorded settings; equal or unknown settings keep the plain label."""
    kinds: dict[str | None, list[Result]] = {}
    for member in members:
        kinds.setdefault(member.settings.get("recipe"), []).append(member)
    if len(kinds.keys() - {None}) < 2:
        return {label: members}
    names = {kind: {_SEED.sub("", Path(m.run).name) for m in runs} for kind, runs in kinds.items()}
    folders = [name for kind_names in names.values() for name in kind_names]
    distinct = len(folders) == len(set(folders)) == len(kinds)
    return {
        f"{label} ({next(iter(names[kind])) if distinct else (kind or 'unknown')[:8]})": runs
        for kind, runs in kinds.items()
    }


def _with_differences(groups: list[Group], tables: Sequence[Sequence[str]], base: str) -> list[Group]:
    """Add the paired differences from the base with the same bits (else from the base's only group).

    Holm's correction runs over each table separately: secondary columns do not weaken the main ones.
    """
    bases = [group for group in groups if group.label == base]
    if not bases:
        known = ", ".join(dict.fromkeys(group.label for group in groups))
        raise LimbeckError(f"--base {base}: no result of that name; choose from {known}")
    raw: dict[tuple[int, str], Difference] = {}
    for number, group in enumerate(groups):
        partner = next((b for b in bases if b.bits == group.bits), bases[0] if len(bases) == 1 else None)
        if group.label == base or partner is None:
            continue
        for column in (column for columns in tables for column in columns):
            if column in group.values and column in partner.values:
                difference = _difference(group, partner, column)
                if difference is not None:
                    raw[number, column] = difference
    corrected: dict[tuple[int, str], float] = {}
    for columns in tables:
        # "mean" repeats the two directions. Correcting for it would count the same evidence twice.
        kept = set(column for column in columns if not column.startswith("mean "))
        tested = {k: d.p for k, d in raw.items() if d.p is not None and k[1] in kept}
        corrected |= dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))
    done = []
    for number, group in enumerate(groups):
        differences = {column: d for (at, column), d in raw.items() if at == number}
        for column, d in differences.items():
            p_holm = corrected.get((number, column))
            differences[column] = Difference(d.base, d.seeds, d.mean, d.low, d.high, d.p, p_holm)
        done.append(Group(group.label, group.space, group.bits, group.results, group.values, differences))
    return done


def _difference(group: Group, base: Group, column: str) -> Difference | None:
    own, other = (
        dict(zip((r.observation for r in part.results), part.values[column], strict=True))
        for part in (group, base)
    )
    shared = [at for at in own if at in other and at[1] is not None]
    if not shared:
        return None
    first, second = [own[at] for at in shared], [other[at] for at in shared]
    seeds = [int(seed) for _, seed in shared if seed is not None]
    if len(shared) == 1:
        return Difference(base.label, seeds, first[0] - second[0], None, None, None, None)
    test = paired_test(first, second, confidence=1 - LEVEL)
    # Equal non-zero differences of a few seeds (median ranks) have no variance to test against.
    p = None if test.sd == 0 and test.difference != 0 else test.p
    return Difference(base.label, seeds, test.difference, test.low, test.high, p, None)


def _best(groups: Sequence[Group], columns: Sequence[str]) -> dict[tuple[int | None, str], str]:
    best = {}
    for bits in dict.fromkeys(group.bits for group in groups):
        rivals = [group for group in groups if group.bits == bits]
        for column in columns:
            having = [group for group in rivals if column in group.values]
            sign = -1 if column.split()[1] in LOWER_IS_BETTER else 1
            if len(having) > 1:
                best[bits, column] = max(having, key=lambda g, c=column, s=sign: s * g.mean(c)).label  # type: ignore[misc]
    return best


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "label": group.label,
        "space": group.space,
        "bits": group.bits,
        "seeds": group.seeds,
        "protocols": [result.protocol for result in group.results],
        "runs": [result.run for result in group.results],
        "values": group.values,
        "mean": {column: group.mean(column) for column in group.values},
        "sd": {column: group.spread(column) for column in group.values},
        "efficiency": [result.efficiency for result in group.results],
        "difference": {c: vars(d) | {"counts": d.counts} for c, d in group.differences.items()},
    }
