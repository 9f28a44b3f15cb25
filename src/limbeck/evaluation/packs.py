"""Read and write packs: many small records in one compressed file, one per line, without loss of digits.

A pack is named ``NAME.jsonl.xz``. Each line is a JSON object with two keys. ``name`` is the name of a row,
such as ``soda-64-s0``, or ``tune/soda`` for the trials of a row. ``record`` is the content of that file.
Lines are sorted by name. You can view a pack with ``xzcat``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import cannot_read, json_text, write_atomic
from limbeck.regular import regular_file
from limbeck.typed import Json

SUFFIX = ".jsonl.xz"


def is_pack(path: Path | str) -> bool:
    """Return whether a path has the name of a pack."""
    return str(path).endswith(SUFFIX)


def read_pack(path: Path) -> dict[str, Json]:
    """Read all records of a pack.

    Returns:
        Name of each record → its content, in the order of the file.

    Raises:
        LimbeckError: the file is missing, unreadable or damaged, or has two records of one name.
    """
    import lzma

    try:
        text = lzma.decompress(regular_file(path).read_bytes()).decode("utf-8")
    except FileNotFoundError:
        raise LimbeckError(f"{path}: there is no such file", code="E-PATH-MISSING") from None
    except OSError as error:
        raise cannot_read(path, error) from None
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise LimbeckError(
            f"{path}: is not a pack of results ({error}); restore it", code="E-FILE-DAMAGED"
        ) from None
    records: dict[str, Json] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        try:
            entry = json.loads(line)
            name, record = entry["name"], entry["record"]
        except (ValueError, KeyError, TypeError):
            raise LimbeckError(
                f"{path}: line {number} is not an object with name and record; restore it",
                code="E-FILE-DAMAGED",
            ) from None
        if name in records:
            raise LimbeckError(
                f"{path}: line {number}: {name!r} appears twice; remove one of the lines",
                code="E-FILE-DAMAGED",
            )
        records[name] = record
    return records


def write_pack(path: Path, records: Mapping[str, Json]) -> None:
    """Write records, sorted by name; the file is written atomically."""
    import lzma

    lines = [json_text({"name": name, "record": records[name]}) + "\n" for name in sorted(records)]
    write_atomic(path, lzma.compress("".join(lines).encode("utf-8"), preset=6 | lzma.PRESET_EXTREME))
