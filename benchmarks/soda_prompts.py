"""Where the label prompt pays, and the field on plain pictures: rows of `soda/grid-prompts` and `soda/grid-pixels`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import soda_tables as tables
from claims import Claims
from limbeck.evaluation.compare import Comparison, Group
from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.reporting.tables import DIRECTION_LABELS
from soda_differences import Differences, Pair, said

PERMUTED_BAR = 0.03
SIZES = ("500", "1,000", "5,000", "10,000")
LABEL_KINDS = ("all", "rare", "seen", "unseen")


def prompts(claims: Claims, comparison: Comparison, command: str) -> list[str]:
    """Zero and few pairs, small training sets, labels that stage 1 never saw."""
    own = {group.label: group for group in comparison.groups}.get
    found = Differences(claims, command)
    zero = own("0 pairs")
    for permuted in ("", " (2)", " (3)"):
        found.both(zero, own(f"0 pairs, words permuted{permuted}"), "map", PERMUTED_BAR)
    found.both(zero, own("0 pairs, exact words"), "map", 0.0)
    found.both(zero, own("0 pairs, words permuted"), "label:rare")
    for way in ("words alone", "set of templates", "a prompt a class", "learned context"):
        found.both(own(f"0 pairs, {way}"), zero, "map")
    for pairs in ("50", "200", "1,000"):
        for other in ("words permuted", "no teacher"):
            found.both(own(f"{pairs} pairs"), own(f"{pairs} pairs, {other}"), "map")
    for size in SIZES:
        for rival in ("no teacher", "multi-hot"):
            for figure in ("map", "label:rare"):
                found.both(own(f"soda, {size}"), own(f"{rival}, {size}"), figure)
    found.both(own("0 pairs, six unseen"), own("0 pairs, six unseen, words permuted"), "label:unseen")
    hidden = own("soda, six unseen in stage 1")
    found.both(hidden, own("multi-hot, six unseen in stage 1"), "label:unseen")
    found.both(hidden, own("soda, 10,000"), "label:unseen")
    return [
        "", *tables.means(comparison), "",
        "mAP by label: mean over labels, over the third with the fewest training rows, over those that stage 1 knew "
        "and did not know (image to text / text to image).", "", *by_kind(comparison), "",
        *listed(found.settle()),
    ]  # fmt: skip


def listed(pairs: Sequence[Pair]) -> list[str]:
    """The differences as a table, both directions in a row."""
    note = "Paired by draw and seed, 95 % t interval; * p < .05 after Holm's correction over this table."
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for pair in pairs:
        way, name = pair.figure.split(" ", 1)
        rows.setdefault((pair.one, pair.other, name), {})[way] = tables.signed(pair.shown)
    lines = [
        [
            f"{one} − {other}",
            said(f"i2t {name}").removeprefix(f"{DIRECTION_LABELS['i2t']} "),
            *(cells.get(way, "") for way in DIRECTIONS),
        ]
        for (one, other, name), cells in rows.items()
    ]
    return [
        note,
        "",
        *tables.table(["difference", "figure", *(DIRECTION_LABELS[way] for way in DIRECTIONS)], lines),
        "",
    ]


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


def pixels(claims: Claims, comparison: Comparison, command: str) -> list[str]:
    """Every method above the floor of its draw in both directions, by its lowest run."""
    for group in comparison.groups:
        for way in DIRECTIONS:
            above = [r.metrics[way]["map"] - r.metrics[way]["floor"] for r in group.results]
            claims.add(
                f"from pixels, {group.label}: least {DIRECTION_LABELS[way]} mAP above the floor", command, min(above), "mAP", 0.0,
                seeds=[seed or 0 for seed in group.seeds],
                note=f"mean mAP {group.mean(f'{way} map'):.4f}",
            )  # fmt: skip
    return ["", *tables.means(comparison), ""]


def names(claims: Claims, comparison: Comparison, command: str) -> list[str]:
    """CLIP's features of class names beside sentences, permuted names and label vectors, many and few labels."""
    own = {group.label: group for group in comparison.groups}.get
    found = Differences(claims, command)
    for size in ("10,000", "500"):
        for other in ("CLIP names permuted", "sentence", "multi-hot"):
            found.both(own(f"CLIP names, {size}"), own(f"{other}, {size}"), "map")
    return ["", *tables.means(comparison), "", *listed(found.settle())]
