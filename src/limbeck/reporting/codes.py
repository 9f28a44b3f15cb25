"""What codes are like beyond mAP: graded NDCG, look-ups, bits."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.reporting.tables import WAYS, Table, figure

_FIGURES = {
    "ndcg@100": "NDCG@100",
    "ndcg@1000": "NDCG@1000",
    "p@100": "P@100",
    "lookup_precision": "prec. r≤2",
    "lookup_recall": "recall r≤2",
    "lookup_answered": "found r≤2",
}
_BITS = {
    "entropy": "entropy",
    "correlation": "corr.",
    "constant_bits": "constant",
    "collisions": "collisions",
}


def code_tables(results: Sequence[Result]) -> list[Table]:
    """Two tables of the results that are codes: figures by direction, and the state of the bits."""
    codes = [r for r in results if any("ndcg@100" in r.metrics.get(way, {}) for way in DIRECTIONS)]
    if not codes:
        return []
    rows = [
        [result.label, WAYS[way], *(figure(result.metrics[way].get(name)) for name in _FIGURES)]
        for result in codes
        for way in DIRECTIONS
        if way in result.metrics
    ]
    notes = [
        "NDCG: gain 2^(shared labels) - 1; r≤2: look-up within Hamming radius 2, a query that finds nothing "
        "has precision 0"
    ]
    for like in (result.settings.get("like") for result in codes):
        if like:
            notes.append(f"mAP like {like['repository']}: {like['metric']}")
            notes.append(f"not reproduced: {like['not_reproduced']}")
    tables = [
        Table(f"Codes, {codes[0].protocol}", ["method", "", *_FIGURES.values()], rows, words=2, notes=notes)
    ]
    health = [
        [result.label, name.replace("_", " "), *(_number(own.get(key)) for key in _BITS)]
        for result in codes
        for name, own in result.health.items()
        if own
    ]
    if health:
        note = "entropy of a bit (1 is best), mean |correlation| of bits, items that share their code"
        tables.append(Table("Bits", ["method", "codes", *_BITS.values()], health, words=2, notes=[note]))
    return tables


def _number(value: float | list[float] | None) -> str:
    return figure(value) if not isinstance(value, list) else "–"
