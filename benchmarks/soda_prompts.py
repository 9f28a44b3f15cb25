"""Where the label prompt pays, and the field on plain pictures: rows of `soda/grid-prompts` and `soda/grid-pixels`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import soda_tables as tables
from claims import Claims
from limbeck.evaluation.compare import Comparison, Group
from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.metrics import paired_test
from limbeck.reporting.tables import WAYS

PERMUTED_BAR = 0.03
FLOOR = 0.557
SMALL = ("500", "1,000", "5,000", "10,000")
LABEL_KINDS = ("all", "rare", "seen", "unseen")


def prompts(claims: Claims, comparison: Comparison, command: str) -> list[str]:
    """Zero and few pairs, small training sets, labels that stage 1 never saw."""
    own = {group.label: group for group in comparison.groups}
    _minus(claims, command, own, "0 pairs", "0 pairs, words permuted", PERMUTED_BAR)
    _minus(claims, command, own, "0 pairs", "0 pairs, exact words", 0.0)
    for way in ("words alone", "set of templates", "a prompt a class", "learned context"):
        _minus(claims, command, own, f"0 pairs, {way}", "0 pairs")
    for pairs in ("50", "200", "1,000"):
        _minus(claims, command, own, f"{pairs} pairs", f"{pairs} pairs, words permuted")
        _minus(claims, command, own, f"{pairs} pairs", f"{pairs} pairs, no teacher")
    for size in SMALL:
        _minus(claims, command, own, f"soda, {size}", f"no teacher, {size}")
        _minus(claims, command, own, f"soda, {size}", f"multi-hot, {size}")
    rest = (("0 pairs, six unseen", "0 pairs, six unseen, words permuted"),
            ("soda, six unseen in stage 1", "multi-hot, six unseen in stage 1"))  # fmt: skip
    for one, other in rest:
        _minus(claims, command, own, one, other, kind="unseen")
    return [
        "", *tables.means(comparison), "",
        "mAP by label: mean over labels, over the third with the fewest training rows, over those that stage 1 knew "
        "and did not know (image to text / text to image).", "", *by_kind(comparison), "",
    ]  # fmt: skip


def by_kind(comparison: Comparison) -> list[str]:
    """Label-wise mAP: all, rare, seen and unseen labels."""
    rows = []
    for group in sorted(comparison.groups, key=lambda g: g.mean("mean map"), reverse=True):
        cells = [" / ".join(_kind(group, way, kind) for way in DIRECTIONS) for kind in LABEL_KINDS]
        rows.append([group.label, *cells])
    return tables.table(["method", *LABEL_KINDS], rows)


def _kind(group: Group, way: str, kind: str) -> str:
    values = label_values(group.results, way, kind)
    return f"{np.mean(values):.3f}".lstrip("0") if values else "–"


def label_values(results: Sequence[Result], way: str, kind: str) -> list[float]:
    """One label-wise mAP a result, of those that have it."""
    found = [result.metrics.get("label", {}).get(f"{way}/{kind}") for result in results]
    return [value for value in found if value is not None]


def _minus(
    claims: Claims, command: str, own: dict[str, Group], one: str, other: str,
    bar: float | None = None, kind: str | None = None,
) -> None:  # fmt: skip
    """One row a direction: the difference with its interval, paired by draw and seed."""
    if one not in own or other not in own:
        return
    for way in DIRECTIONS:
        sides = [_observed(own[label].results, way, kind) for label in (one, other)]
        shared = [at for at in sides[0] if at in sides[1]]
        if not shared:
            continue
        pairs = [[side[at] for at in shared] for side in sides]
        note = "one run each"
        if len(shared) > 1:
            found = paired_test(pairs[0], pairs[1])
            note = f"95 % interval {found.low:+.4f} to {found.high:+.4f}"
        what = "mAP" if kind is None else f"mAP of {kind} labels"
        claims.add(
            f"{one} minus {other}, {WAYS[way]} {what}", command, float(np.mean(pairs[0]) - np.mean(pairs[1])),
            "mAP", bar, seeds=[seed or 0 for _, seed in shared], note=note,
        )  # fmt: skip


def _observed(results: Sequence[Result], way: str, kind: str | None) -> dict[tuple[str, int | None], float]:
    found = {}
    for result in results:
        value = result.metrics[way]["map"] if kind is None else result.metrics["label"].get(f"{way}/{kind}")
        if value is not None:
            found[result.observation] = value
    return found


def pixels(claims: Claims, comparison: Comparison, command: str) -> list[str]:
    """Every method above the floor in both directions, by its lowest run."""
    for group in comparison.groups:
        for way in DIRECTIONS:
            values = group.values[f"{way} map"]
            claims.add(
                f"from pixels, {group.label}: lowest {WAYS[way]} mAP", command, min(values), "mAP", FLOOR,
                seeds=[seed or 0 for seed in group.seeds], note=f"mean {np.mean(values):.4f}",
            )  # fmt: skip
    return ["", *tables.means(comparison), ""]


def names(claims: Claims, comparison: Comparison, command: str) -> list[str]:
    """CLIP's features of class names beside sentences, permuted names and label vectors, many and few labels."""
    own = {group.label: group for group in comparison.groups}
    for size in ("10,000", "500"):
        for other in ("CLIP names permuted", "sentence", "multi-hot"):
            _minus(claims, command, own, f"CLIP names, {size}", f"{other}, {size}")
    return ["", *tables.means(comparison), ""]
