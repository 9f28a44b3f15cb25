"""Compare results in tidy rows: mean and s.d. over seeds, and paired differences from a base."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.evaluation.results import DIRECTIONS, GROUPS, Result, load_results, same_protocol
from limbeck.metrics import holm, paired_test, summarize
from limbeck.optional_deps import require
from limbeck.typed import Json

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05
LOWER_IS_BETTER = ("median_rank", "tie", "lca")
# Secondary metrics of hash codes: mAP without trained items, mAP of real queries against codes, NDCG,
# precision at 100, hash look-up.
BESIDE = (
    "map_unseen", "map_asymmetric", "ndcg@100", "ndcg@1000", "p@100", "lookup_precision", "lookup_recall",
    "lookup_answered",
)  # fmt: skip
PARTS = ("scores", "further", "codes")
_ORDER = (*DIRECTIONS, "mean", *GROUPS)
# The seed suffix of a run's folder name.
_SEED = re.compile(r"[-_]?s(eed)?\d+$")
# These groups describe the embedding and are not judged: they get no best value and no differences.
DESCRIPTIVE = ("cone", "radius")


@dataclass(frozen=True)
class Group:
    """Runs of one method in one space that differ in the seed or in the draw of the protocol only.

    Attributes:
        label: name of the row.
        space: name of the space.
        bits: length of the codes; None for other spaces.
        results: one result per run.
    """

    label: str
    space: str
    bits: int | None
    results: list[Result]

    @property
    def seeds(self) -> list[int | None]:
        """The seeds of the results."""
        return [result.seed for result in self.results]


@dataclass(frozen=True)
class Comparison:
    """The figures of the groups of one protocol.

    Attributes:
        protocol: its name; with several draws, all their names (`mirflickr15k/dcmh, @1, @2`).
        protocol_hash: its hash; with several draws, the hash that they share.
        task: ``hashing`` or ``retrieval``.
        groups: the groups, in order of appearance.
        base: label of the group that the others are compared with; None without one.
        figures: tidy rows, one per group and figure that all results of the group have. Columns:

            - ``group``: position in ``groups``; ``rank``: position of the figure, the same in all groups.
            - ``part``: ``scores`` (every group has these), ``further`` (of no direction: `GROUPS`) or
              ``codes`` (`BESIDE`).
            - ``direction`` (``i2t``, ``t2i``, ``mean`` of both, or one of `GROUPS`) and ``metric``.
            - ``values`` (one per result), their ``mean`` and ``sd`` (n − 1; NaN for one result).
            - ``best``: whether no other group of equal bits has a better mean; False without a rival.
            - ``seeds`` that group and base share, ``difference`` (mean of group minus base), ``low`` and
              ``high`` (95 % t interval), ``p`` (paired t test), ``p_holm`` (after Holm's correction per
              part), and ``counts`` (whether ``p_holm`` is below .05); NaN where they do not apply.
    """

    protocol: str
    protocol_hash: str
    task: str
    groups: list[Group]
    base: str | None
    figures: pd.DataFrame

    def ordered(self) -> pd.DataFrame:
        """Return the figures with the groups in the order of their bits, other spaces last."""
        bits = [self.groups[number].bits or np.inf for number in self.figures["group"]]
        return self.figures.assign(bits=bits).sort_values("bits", kind="stable")

    def to_json(self) -> dict[str, Json]:
        """Return all figures as a JSON object."""
        named = self.figures.assign(name=self.figures["direction"] + " " + self.figures["metric"])
        named = named.astype(object).where(named.notna(), None).set_index("name")
        parts = {"protocol": self.protocol, "protocol_hash": self.protocol_hash, "task": self.task}
        groups = [self._group_json(group, named[named["group"] == n]) for n, group in enumerate(self.groups)]
        return parts | {"base": self.base, "groups": groups}

    def _group_json(self, group: Group, rows: pd.DataFrame) -> dict[str, Json]:
        paired = rows[rows["seeds"].notna()].assign(base=self.base, mean=lambda found: found["difference"])
        return {
            "label": group.label,
            "space": group.space,
            "bits": group.bits,
            "seeds": group.seeds,
            "protocols": [result.protocol for result in group.results],
            "runs": [result.run for result in group.results],
            **{column: rows[column].to_dict() for column in ("values", "mean", "sd")},
            "efficiency": [result.efficiency for result in group.results],
            "difference": paired[
                ["base", "seeds", "mean", "low", "high", "p", "p_holm", "counts"]
            ].to_dict("index"),
        }  # fmt: skip


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
            no result has the label ``base``; the extra ``report`` is not installed.
    """
    if not sources:
        raise LimbeckError("there is nothing to compare; name runs or result files", code="E-OPTION-MISSING")
    given = [source for source in sources if isinstance(source, Result)]
    results = given + load_results([source for source in sources if not isinstance(source, Result)])
    if protocol is not None:
        results = [result for result in results if fnmatch.fnmatchcase(result.protocol, protocol)]
        if not results:
            raise LimbeckError(
                f"--protocol {protocol}: there is no result of this protocol; evaluate with it first",
                code="E-RESULT-MISSING",
            )
    same_protocol(results)
    groups = _grouped(results)
    rows = _tidy(groups)
    figures = _summarized(rows, groups).merge(_differences(rows, groups, base), "left", ["group", "rank"])
    for part in PARTS:
        # "mean" repeats the two directions. Correcting for it would count the same evidence twice.
        tested = figures["p"].notna() & (figures["part"] == part) & (figures["direction"] != "mean")
        figures.loc[tested, "p_holm"] = holm(figures.loc[tested, "p"].to_numpy(float))
    figures["counts"] = figures["p_holm"] < LEVEL
    return Comparison(*_pooled(results), results[0].task, groups, base, figures)


def _pooled(results: Sequence[Result]) -> tuple[str, str]:
    """Return name and hash of the protocol of the results, or of its draws."""
    first, *others = sorted({result.protocol for result in results})
    if not others:
        return first, results[0].protocol_hash
    return ", ".join([first, *("@" + other.rpartition("@")[2] for other in others)]), results[0].pool


def _tidy(groups: Sequence[Group]) -> pd.DataFrame:
    """Return one row per result and figure, in the order of the figures' ranks.

    Scores that one of the results lacks are left out, as are other figures that one result of a group lacks.
    """
    rows = [
        (number, result.protocol, result.seed, _part(direction, metric), direction, metric, value)
        for number, group in enumerate(groups)
        for result in group.results
        for direction, metrics in _with_mean(result).items()
        for metric, value in metrics.items()
    ]
    names = ["group", "protocol", "seed", "part", "direction", "metric", "value"]
    table = require("pandas").DataFrame(rows, columns=names).dropna(subset="part")
    size = table["group"].map({number: len(group.results) for number, group in enumerate(groups)})
    figure, score = ["direction", "metric"], table["part"] == "scores"
    here = table.groupby(["group", *figure])["value"].transform("size") == size
    everywhere = table.groupby(figure)["value"].transform("size") == sum(len(g.results) for g in groups)
    table = table[here & (everywhere | ~score)]
    if not (table["part"] == "scores").any():
        raise LimbeckError(
            "the results have no metric in common; compare results of the same directions",
            code="E-RESULT-OTHER",
        )
    table = table.assign(place=[_place(*key) for key in table[["part", *figure]].itertuples(index=False)])
    table = table.sort_values("place", kind="stable")
    return table.assign(rank=table.groupby(figure, sort=False).ngroup())


def _part(direction: str, metric: str) -> str | None:
    """Return the part of the comparison that shows a figure; None for floor, ceiling, chance and others."""
    if direction in GROUPS:
        return None if (direction, metric) == ("zero_shot", "chance") else "further"
    if metric in BESIDE:
        return "codes"
    return "scores" if metric in {"map", "median_rank"} or metric.startswith("r@") else None


def _place(part: str, direction: str, metric: str) -> tuple[int, int, int]:
    """Return the sort key of a figure; other metrics of one direction stay in order of appearance."""
    return PARTS.index(part), _ORDER.index(direction), BESIDE.index(metric) if part == "codes" else 0


def _with_mean(result: Result) -> dict[str, dict[str, float]]:
    both = all("map" in result.metrics.get(direction, {}) for direction in DIRECTIONS)
    return result.metrics | ({"mean": {"map": result.mean("map") or 0.0}} if both else {})


def _summarized(rows: pd.DataFrame, groups: Sequence[Group]) -> pd.DataFrame:
    """Return one row per group and figure: its values, their mean and s.d., and whether it is the best."""
    by = rows.groupby(["group", "rank"], as_index=False)
    names = {name: (name, "first") for name in ("part", "direction", "metric")}
    figures = by.agg(**names, values=("value", list))
    summaries = [summarize(values) for values in figures["values"]]
    figures["mean"] = [summary.mean for summary in summaries]
    figures["sd"] = [np.nan if summary.sd is None else summary.sd for summary in summaries]
    judged = figures[~figures["direction"].isin(DESCRIPTIVE)]
    height = judged["mean"].where(~judged["metric"].isin(LOWER_IS_BETTER), -judged["mean"])
    rivals = height.groupby([judged["group"].map(lambda number: groups[number].bits or 0), judged["rank"]])
    figures["best"] = figures.index.isin(rivals.idxmax()[rivals.size() > 1])
    return figures


def _differences(rows: pd.DataFrame, groups: Sequence[Group], base: str | None) -> pd.DataFrame:
    """Return the paired differences from the base with the same bits, else from the base's only group."""
    bases = [number for number, group in enumerate(groups) if group.label == base]
    if base is not None and not bases:
        known = ", ".join(dict.fromkeys(group.label for group in groups))
        raise LimbeckError(
            f"--base {base}: there is no result of that name; choose from {known}", code="E-OPTION-CHOICE"
        )
    only = bases[0] if len(bases) == 1 else None
    partners = {
        number: next((b for b in bases if groups[b].bits == group.bits), only)
        for number, group in enumerate(groups)
        if number not in bases
    }
    judged = ~rows["direction"].isin(DESCRIPTIVE) & ~rows["metric"].isin(BESIDE[1:])  # not of NDCG, look-up …
    rows = rows[judged].dropna(subset="seed").assign(partner=rows["group"].map(partners).astype(float))
    at = ["protocol", "seed", "rank"]
    pairs = rows.merge(rows, left_on=["partner", *at], right_on=["group", *at], suffixes=("", "_base"))
    found = [
        {"group": group, "rank": rank, "seeds": pair["seed"].astype(int).tolist()}
        | _paired(pair["value"].tolist(), pair["value_base"].tolist())
        for (group, rank), pair in pairs.groupby(["group", "rank"])
    ]
    columns = ["group", "rank", "seeds", "difference", "low", "high", "p", "p_holm"]
    return require("pandas").DataFrame(found, columns=columns)


def _paired(own: list[float], other: list[float]) -> dict[str, float]:
    if len(own) == 1:
        return {"difference": own[0] - other[0]}
    test = paired_test(own, other, confidence=1 - LEVEL)
    # Equal non-zero differences of a few seeds (median ranks) have no variance to test against.
    p = np.nan if test.sd == 0 and test.difference != 0 else test.p
    return {"difference": test.difference, "low": test.low, "high": test.high, "p": p}


def _grouped(results: Sequence[Result]) -> list[Group]:
    """Group results by label, space and bits.

    Runs of one recipe with different overrides are not repeats of each other; they are grouped by folder name
    without the seed. Where a group holds a seed twice on one split, each of its runs becomes a group.
    """
    by_label: dict[tuple[str, str, int | None], list[Result]] = {}
    for result in results:
        by_label.setdefault((result.label, str(result.space.get("name")), result.bits), []).append(result)
    groups: dict[tuple[str, str, int | None], Group] = {}
    for (name, space, bits), alike in by_label.items():
        for label, members in _by_settings(name, alike).items():
            if len({member.observation for member in members}) == len(members):
                members.sort(key=lambda r: (r.protocol, -1 if r.seed is None else r.seed))
                groups[label, space, bits] = Group(label, space, bits, members)
                continue
            for member in members:
                key = (f"{label} ({Path(member.run).name})", space, bits)
                if key in groups:
                    raise LimbeckError(
                        f"{member.run}: is given twice (seed {member.seed}); name each run once",
                        code="E-OPTION-REPEATED",
                    )
                groups[key] = Group(*key, [member])
    return list(groups.values())


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
