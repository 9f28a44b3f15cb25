"""A million-row CSV by limbeck's reader and by pyarrow's own; and what an import of it takes.

    python benchmarks/table_reading.py [--rows 1000000] [--import]

The bar: reading is not slower than 2 times pyarrow's own reader. Each is run in turn, the least of 15 counts.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv

from limbeck.files import write_json
from limbeck.tables import read_table

WORDS = [
    "a",
    "red",
    "dog",
    "runs",
    "on",
    "the",
    "wide",
    "beach",
    "while",
    "two",
    "people",
    "watch",
    "it",
    "from",
]
REPEATS = 15
TEXT = ("id", "image", "caption", "labels")


def write_table(file: Path, rows: int) -> None:
    """Ids, paths, captions (a third in quotes), labels, and three columns whose types are guessed."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, len(WORDS), rows)
    with file.open("w", encoding="utf-8") as stream:
        stream.write("id,image,caption,labels,year,rating,date\n")
        for at, length in enumerate(lengths.tolist()):
            caption = " ".join(WORDS[at % 5 : at % 5 + length])
            caption = f'"{caption}, ""so"" {at}"' if at % 3 == 0 else f"{caption} {at}"
            day = f"20{at % 20:02}-0{1 + at % 9}-1{at % 10}"
            stream.write(
                f"{at:08},photos/{at:08}.jpg,{caption},l{at % 50},{1990 + at % 30},{at % 9}.5,{day}\n"
            )


def ours(file: Path) -> int:
    return len(read_table(file, text=TEXT))


def arrow(file: Path) -> int:
    text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(TEXT, pyarrow.string()))
    return pyarrow.csv.read_csv(file, convert_options=text).num_rows


def seconds(call: Callable[[Path], int], file: Path, rows: int) -> tuple[float, float]:
    """Wall clock and processor time of a call; on a machine that others use only the second one says much."""
    wall, processor = time.perf_counter(), time.process_time()
    assert call(file) == rows
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--import", dest="imports", action="store_true", help="also import it as features")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    given = parser.parse_args()
    figures: dict[str, Any] = {"rows": given.rows}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "src" / "captions.csv"
        file.parent.mkdir()
        write_table(file, given.rows)
        taken = np.array(
            [[seconds(call, file, given.rows) for call in (ours, arrow)] for _ in range(REPEATS)]
        )
        size = file.stat().st_size / 1e6
        for name, (mine, theirs) in zip(("wall clock", "processor"), taken.min(0).T, strict=True):
            print(
                f"{given.rows:,} rows, {size:.0f} MB, {name}: limbeck {mine:.2f} s, pyarrow {theirs:.2f} s, ",
                end="",
            )
            print(f"ratio {mine / theirs:.2f} (bar: 2)")
            figures[name] = {"limbeck_s": round(mine, 3), "pyarrow_s": round(theirs, 3)}
        if given.imports:
            from limbeck.data.importers import FolderOptions, import_folder

            start = time.perf_counter()
            report = import_folder(file.parent, Path(place) / "out", FolderOptions(keep_missing=True))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            figures["import"] = {"seconds": round(time.perf_counter() - start, 1), "peak_gb": round(peak, 2)}
            print(f"import: {report.rows:,} pairs, {time.perf_counter() - start:.1f} s, peak {peak:.2f} GB")
    if given.out:
        write_json(given.out, figures)


if __name__ == "__main__":
    main()
