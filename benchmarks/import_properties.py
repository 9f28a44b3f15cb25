"""Import many made-up data sets and count what became of their rows: python benchmarks/import_properties.py

The cases and what must hold of them are those of tests/data/import_property.py, which the test suite runs in
small. A case that does not hold is made as small as it goes, printed, and ends with status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "data"))

from import_property import Case, cases, check


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--examples", type=int, default=2000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--json", type=Path)
    given_words = words.parse_args()
    counts: Counter[str] = Counter()

    @seed(given_words.seed)
    @settings(
        max_examples=given_words.examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(cases())
    def run(case: Case) -> None:
        counts["data sets"] += 1
        with tempfile.TemporaryDirectory() as place:
            counts.update(check(case, Path(place)).counts)

    start, broken = time.perf_counter(), ""
    try:
        run()
    except AssertionError as error:
        broken = f"{type(error).__name__}: {error}\n" + "\n".join(getattr(error, "__notes__", []))
    report = {"violations": int(bool(broken)), **dict(sorted(counts.items()))}
    for name, count in report.items():
        print(f"{count:>8,}  {name}")
    print(f"{time.perf_counter() - start:>8.0f}  seconds")
    if given_words.json is not None:
        given_words.json.write_text(json.dumps(report, indent=1) + "\n")
    if broken:
        print(broken)
    return int(bool(broken))


if __name__ == "__main__":
    raise SystemExit(main())
