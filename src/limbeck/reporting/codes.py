"""Make tables of hash codes beyond mAP: graded NDCG, hash look-up, bit statistics."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.evaluation.compare import Comparison, Group
from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.reporting.tables import DIRECTION_LABELS, Table, figure, space_text

_FIGURES = {
    "ndcg@100": "NDCG@100",
    "ndcg@1000": "NDCG@1000",
    "p@100": "P@100",
    "lookup_precision": "prec. r≤2",
    "lookup_recall": "recall r≤2",
    "lookup_answered": "found r≤2",
}
_BESIDE_NOTE = (
    "means over seeds; unseen: mAP without trained items in the database; NDCG: gain 2^(shared labels) - 1; "
    "r≤2: look-up within Hamming radius 2, a query without hits has precision 0"
)
_BITS = {
    "entropy": "entropy",
    "correlation": "corr.",
    "constant_bits": "constant",
    "collisions": "collisions",
}


def code_tables(results: Sequence[Result]) -> list[Table]:
    """Make the tables of results of hash codes: metrics per direction, and bit statistics.

    Args:
        results: any results; those without hash codes are left out.
    """
    codes = [r for r in results if any("p@100" in r.metrics.get(way, {}) for way in DIRECTIONS)]
    if not codes:
        return []
    rows = [
        [result.label, DIRECTION_LABELS[way], *(figure(result.metrics[way].get(name)) for name in _FIGURES)]
        for result in codes
        for way in DIRECTIONS
        if way in result.metrics
    ]
    notes = [
        "NDCG: gain 2^(shared labels) - 1; r≤2: look-up within Hamming radius 2, a query without hits has "
        "precision 0"
    ]
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


def codes_table(comparison: Comparison, ordered: Sequence[Group]) -> Table | None:
    """Make a table of the secondary metrics of hash codes: means over seeds, one row per group and direction.

    Standard deviations are in the CSV and JSON files; they would make this table too wide.

    Returns:
        The table; None if no group has such metrics.
    """
    names = {"map_unseen": "unseen"} | _FIGURES
    shown = [name for name in names if any(c.split()[1] == name for c in comparison.beside)]
    head = ["method", "space", "way", *(names[name] for name in shown)]
    table = Table(f"beside mAP, {comparison.protocol}", head, [], words=3, notes=[_BESIDE_NOTE])
    bits: list[int | None] = []
    for group in ordered:
        for way in DIRECTIONS:
            columns = [f"{way} {name}" for name in shown]
            if not any(column in group.values for column in columns):
                continue
            cells = [figure(group.mean(c)) if c in group.values else "–" for c in columns]
            best = [at for at, c in enumerate(columns) if comparison.best.get((group.bits, c)) == group.label]
            table.strong |= {(len(table.rows), 3 + at) for at in best}
            table.rows.append([group.label, space_text(group.results[0]), DIRECTION_LABELS[way], *cells])
            bits.append(group.bits)
    table.rules = {row for row in range(len(bits) - 1) if bits[row] != bits[row + 1]}
    return table if table.rows else None


def _number(value: float | list[float] | None) -> str:
    return figure(value) if not isinstance(value, list) else "–"
