"""Rows of a results file: one for each figure that was asked for, misses included."""

from __future__ import annotations

from typing import Any


class Claims:
    """Rows of the JSON file."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        claim: str,
        command: str,
        value: float,
        unit: str,
        bar: float | None = None,
        *,
        seeds: list[int] | None = None,
        below: bool = False,
        note: str = "",
    ) -> None:
        met = True if bar is None else (value <= bar if below else value >= bar)
        row = {
            "claim": claim,
            "command": command,
            "value": float(f"{value:.6g}"),
            "unit": unit,
            "bar": bar,
            "met": bool(met),
            "seeds": seeds or [],
            "note": note,
        }
        self.rows.append(row)

    def table(self) -> list[str]:
        """Markdown lines of all rows."""
        lines = ["| what | value | bar | met | note |", "|---|---|---|---|---|"]
        for row in self.rows:
            bar = "" if row["bar"] is None else f"{row['bar']:g}"
            met = "" if row["bar"] is None else ("yes" if row["met"] else "**no**")
            value = f"{row['value']:.4g} {row['unit']}"
            lines.append(f"| {row['claim']} | {value} | {bar} | {met} | {row['note']} |")
        return lines
