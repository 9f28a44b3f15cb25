"""A comparison as files: the table in three forms, and its charts."""

from __future__ import annotations

from pathlib import Path

from limbeck.evaluation.compare import Comparison
from limbeck.files import write_atomic, write_json
from limbeck.reporting import plots
from limbeck.reporting.tables import comparison_table


def write_comparison(folder: Path | str, comparison: Comparison) -> list[Path]:
    """Write ``table.md``, ``table.csv``, ``comparison.json`` and the charts that apply as SVG.

    Args:
        folder: made when missing; files of the same names are replaced.
        comparison: what `limbeck.evaluation.compare` returned.

    Returns:
        The files written.

    Raises:
        LimbeckError: a file cannot be written, or the extra ``report`` is missing (the tables stand then).
    """
    folder = Path(folder)
    table = comparison_table(comparison)
    write_atomic(folder / "table.md", table.markdown())
    write_atomic(folder / "table.csv", table.csv())
    write_json(folder / "comparison.json", comparison.to_json())
    written = [folder / name for name in ("table.md", "table.csv", "comparison.json")]
    results = [result for group in comparison.groups for result in group.results]
    for chart in (
        plots.map_against_bits(results),
        plots.precision_recall(results),
        plots.bit_balance(results),
    ):
        if chart is not None:
            file = folder / f"{chart.name}.svg"
            write_atomic(file, chart.svg())
            written.append(file)
    return written
