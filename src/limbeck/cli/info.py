"""Print the description of an index in a terminal."""

from __future__ import annotations

from typing import Any


def print_info(value: dict[str, Any]) -> None:
    """Print the value of `IndexStore.info`, one property per line."""
    from rich.markup import escape
    from rich.table import Table

    from limbeck.console import console
    from limbeck.index.confidence import Curve

    space = dict(value["space"])
    kind = space.pop("name")
    encoders = [
        " and ".join(
            name if name == reads else f"{name} ({reads})" for name, reads in entry["modalities"].items()
        )
        for entry in value["encoders"]
    ]
    lines = {
        "index": value["path"],
        "items": f"{value['items']:,} ({value['modality']}) in {value['segments']} segment(s), generation "
        f"{value['generation']}, format {value['format']}",
        "removed": f"{value['removed']:,} row(s), on disk until limbeck index compact",
        "size": f"{value['bytes'] / 1e6:,.1f} MB"
        if value["bytes"] >= 1e6
        else f"{value['bytes'] / 1e3:,.1f} kB",
        "space": f"{kind} ({', '.join(f'{number} {name}' for name, number in space.items())})",
        "space id": value["space_id"] or "unknown (external codes or vectors)",
        "queries by": "; ".join(encoders) or "item, codes or vectors only (no query encoder)",
        "model": value["model"] or "not recorded",
        "pictures": value["media_root"] or "not recorded",
        "--rerank by": value.get("ranked_by") or "nothing (the index keeps no embeddings)",
        "confidence": "\n".join(
            f"{modality}: {Curve(**curve).describe()}"
            for modality, curve in (value["confidence"] or {}).items()
        )
        or "none (limbeck index calibrate makes it)",
        "columns": ", ".join(value["columns"]),
        "created": value["created"],
        "engines": "\n".join(["exact", *map(_engine_line, value["engines"])]),
    }
    if not value["removed"]:
        del lines["removed"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, escape(str(text)))
    console().print(table)


def _engine_line(entry: dict[str, Any]) -> str:
    """Describe an engine: name, options, size, and how many items it covers."""
    if "error" in entry:
        return f"{entry['name']}: {entry['error']}"
    options = " ".join(f"{name}={value}" for name, value in entry["options"].items())
    left = f", {entry['uncovered']:,} items ({entry['uncovered_share']:.1%}) searched exactly"
    gone = f", {entry['gone']:,} of its rows are no longer in the index" if entry["gone"] else ""
    return (
        f"{entry['name']} {options}".strip()
        + f": {entry['bytes'] / 1e6:,.1f} MB, {entry['covered']:,} items"
        + left * bool(entry["uncovered"])
        + f", {entry['fallbacks']:.1%} of the measured queries fell back to the exact scan"
        * bool(entry["fallbacks"])
        + gone
        + ", not measured: build it again" * (not entry["measured"])
    )
