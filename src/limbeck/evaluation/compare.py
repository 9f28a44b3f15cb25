"""Several results beside each other: mean and spread over seeds, paired differences from a base."""

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
# Of codes, beside mAP: without trained items in the database, graded, at the first places, by look-up.
BESIDE = (
    "map_unseen", "ndcg@100", "ndcg@1000", "p@100", "lookup_precision", "lookup_recall", "lookup_answered",
)  # fmt: skip
# How a folder of runs ends in its seed.
_SEED = re.compile(r"[-_]?s(eed)?\d+$")
# Where points lie is told, not judged: no best, no differences.
DESCRIPTIVE = ("cone", "radius")


@dataclass(frozen=True)
class Difference:
    """A group minus the base, paired by split and seed: mean, 95 % t interval, p value and p after Holm."""

    base: str
    seeds: list[int]
    mean: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None

    @property
    def counts(self) -> bool:
        """Whether the difference counts: p after Holm's correction within the table below .05."""
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Group:
    """Runs of one method in one space, seeds (and draws of the protocol) apart.

    Attributes:
        values: column → one value a result, in the order of ``results``. Columns: ``i2t map``, ``t2i r@1`` …,
            and ``mean`` of the two directions; of the further ones (``zero_shot top1`` …) those that all its
            results have.
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
        """Seeds of the results."""
        return [result.seed for result in self.results]

    def mean(self, column: str) -> float:
        """Mean over the results."""
        return summarize(self.values[column]).mean

    def spread(self, column: str) -> float | None:
        """Standard deviation over the results (n − 1); None for one result."""
        return summarize(self.values[column]).sd


@dataclass(frozen=True)
class Comparison:
    """The groups of one protocol.

    Attributes:
        protocol: its name, with several draws theirs too (`mirflickr15k/dcmh, @1, @2`).
        protocol_hash: its hash; with several draws the one that they share.
        columns: the columns that every group has, in the order shown.
        further: columns of no direction (`GROUPS`), each had by at least one group: a model without cones
            stands beside one that has them.
        beside: figures of a direction that stand beside the columns (`BESIDE`), had by at least one group. Of
            ``map_unseen`` there are differences too.
        best: (bits, column) → label of the group with the best mean among those with equal bits; only where
            at least two stand beside each other.
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
        """All figures, for a file."""
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
    """Put results into one table.

    Args:
        sources: results, result files, packs of rows, or run directories (every ``result*.json`` in them).
        base: label of the method the others are compared with, bits for bits; no differences without it.
        protocol: name of a protocol, or a pattern such as ``mirflickr15k/dcmh*``; results of others are left
            out. Runs evaluated by several need it.

    Raises:
        LimbeckError: nothing given, a directory without results, results of several protocols, a base that
            no result carries.
    """
    if not sources:
        raise LimbeckError("nothing to compare; name runs or result files")
    given = [source for source in sources if isinstance(source, Result)]
    results = given + load_results([source for source in sources if not isinstance(source, Result)])
    if protocol is not None:
        results = [result for result in results if fnmatch.fnmatchcase(result.protocol, protocol)]
        if not results:
            raise LimbeckError(f"--protocol {protocol}: none of the results is of it; evaluate by it first")
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
    """Name and hash of what the results are of: a protocol, or several draws of it."""
    first, *others = sorted({result.protocol for result in results})
    if not others:
        return first, results[0].protocol_hash
    return ", ".join([first, *("@" + other.rpartition("@")[2] for other in others)]), results[0].pool


def _columns(results: Sequence[Result]) -> list[str]:
    """Direction and metric of every figure that all results have; reference levels stand elsewhere."""
    names = [name for name in results[0].metrics.get(_directions(results[0])[0], {}) if _is_score(name)]
    columns = [f"{direction} {name}" for direction in DIRECTIONS for name in names]
    columns = [c for c in columns if all(_has(result, c) for result in results)]
    if not columns:
        raise LimbeckError("the results share no figure; compare results of the same directions")
    if {c.split()[0] for c in columns} == set(DIRECTIONS) and "i2t map" in columns:
        columns.append("mean map")
    return columns


def _further_columns(results: Sequence[Result]) -> list[str]:
    """Figures of no direction that at least one result has, group by group."""
    found = [f"{group} {name}" for group in GROUPS for r in results for name in r.metrics.get(group, {})]
    return [column for column in dict.fromkeys(found) if column != "zero_shot chance"]


def _values(members: Sequence[Result], columns: Sequence[str]) -> dict[str, list[float]]:
    """The columns that all members of a group have."""
    own = [c for c in columns if c.startswith("mean ") or all(_has(result, c) for result in members)]
    return {column: [_value(result, column) for result in members] for column in own}


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
    """By label, space and bits; a group that holds a seed twice on one split has no repeats: by run then.

    Runs of one recipe with other overrides are no repeats of each other: by folder without the seed then.
    """
    by_label: dict[tuple[str, str, int | None], list[Result]] = {}
    for result in results:
        by_label.setdefault((result.label, str(result.space.get("name")), result.bits), []).append(result)
    groups: dict[tuple[str, str, int | None], list[Result]] = {}
    for (label, space, bits), members in by_label.items():
        for own, repeats in _by_settings(label, members).items():
            groups[own, space, bits] = repeats
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
                raise LimbeckError(f"{member.run}: given twice (seed {member.seed}); name each once")
            done[key] = [member]
    return done


def _by_settings(label: str, members: list[Result]) -> dict[str, list[Result]]:
    """Under the label itself where all have the same settings, as far as results say."""
    kinds: dict[str | None, list[Result]] = {}
    for member in members:
        kinds.setdefault(member.settings.get("recipe"), []).append(member)
    if len(kinds.keys() - {None}) < 2:
        return {label: members}
    names = {kind: {_SEED.sub("", Path(m.run).name) for m in own} for kind, own in kinds.items()}
    told = [name for own in names.values() for name in own]
    apart = len(told) == len(set(told)) == len(kinds)
    return {
        f"{label} ({next(iter(names[kind])) if apart else (kind or 'unknown')[:8]})": own
        for kind, own in kinds.items()
    }


def _with_differences(groups: list[Group], tables: Sequence[Sequence[str]], base: str) -> list[Group]:
    """Paired differences from the base of the same bits (else from the base's only group).

    Holm's correction runs over each table by itself, so that further figures take nothing from the first.
    """
    bases = [group for group in groups if group.label == base]
    if not bases:
        known = ", ".join(dict.fromkeys(group.label for group in groups))
        raise LimbeckError(f"--base {base}: no result of that name; there are {known}")
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
        # "mean" restates the two directions: correcting for it as well would count the same evidence twice.
        kept = set(column for column in columns if not column.startswith("mean "))
        tested = {k: d.p for k, d in raw.items() if d.p is not None and k[1] in kept}
        corrected |= dict(zip(tested, holm(list(tested.values())).tolist(), strict=True))
    done = []
    for number, group in enumerate(groups):
        own = {column: d for (at, column), d in raw.items() if at == number}
        for column, d in own.items():
            p_holm = corrected.get((number, column))
            own[column] = Difference(d.base, d.seeds, d.mean, d.low, d.high, d.p, p_holm)
        done.append(Group(group.label, group.space, group.bits, group.results, group.values, own))
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
    # Equal differences of a few seeds (median ranks) have no spread to test against, unless all are 0.
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
