"""Make tables of hash codes beyond mAP: graded NDCG, hash look-up, bit statistics."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.reporting.tables import DIRECTION_LABELS, Table, figure

_FIGURES = {
    "ndcg@100": "NDCG@100",
    "ndcg@1000": "NDCG@1000",
    "p@100": "P@100",
    "lookup_precision": "prec. r≤2",
    "lookup_recall": "recall r≤2",
    "lookup_answered": "found r≤2",
}
CODES_NOTE = (
    "NDCG: gain 2^(shared labels) - 1; r≤2: look-up within Hamming radius 2, a query without hits has "
    "precision 0"
)
_BITS = {
    "entropy": "entropy",
    "correlation": "corr.",
    "constant_bits": "constant",
    "collisions": "collisions",
}


def code_tables(results: Sequence[Result]) -> list[Table]:
    """Make the tables of the results that are hash codes: metrics per direction, and bit statistics."""
    codes = [r for r in results if any("p@100" in r.metrics.get(way, {}) for way in DIRECTIONS)]
    if not codes:
        return []
    rows = [
        [result.label, DIRECTION_LABELS[way], *(figure(result.metrics[way].get(name)) for name in _FIGURES)]
        for result in codes
        for way in DIRECTIONS
        if way in result.metrics
    ]
    notes = [CODES_NOTE]
    for like in (result.settings.get("like") for result in codes):
        if like:
            notes.append(f"mAP like {like['repository']}: {like['metric']}")
            if like["not_reproduced"]:
                notes.append(f"not reproduced: {like['not_reproduced']}")
            if looks := like.get("best_looks"):
                each = ", ".join(f"{DIRECTION_LABELS[way]} {figure(value)}" for way, value in looks.items())
                notes.append(
                    "the step was selected on the test queries, as in the repository, so the scores are not "
                    f"of unseen data. Best validation per direction: {each}"
                )
    tables = [
        Table(f"Codes, {codes[0].protocol}", ["method", "", *_FIGURES.values()], rows, words=2, notes=notes)
    ]
    health = [
        [result.label, name.replace("_", " "), *(_number(statistics.get(key)) for key in _BITS)]
        for result in codes
        for name, statistics in result.health.items()
        if statistics
    ]
    if health:
        note = "entropy of a bit (1 is best), mean |correlation| of bits, items that share their code"
        tables.append(Table("Bits", ["method", "codes", *_BITS.values()], health, words=2, notes=[note]))
    return tables


def code_head(_: str, metric: str) -> str:
    """Return the heading of a secondary metric of hash codes; all directions have the same."""
    return _FIGURES.get(metric) or {"map_asymmetric": "asymmetric"}.get(metric, "unseen")


def _number(value: float | list[float] | None) -> str:
    return figure(value) if not isinstance(value, list) else "–"
