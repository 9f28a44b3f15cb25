"""The processor time of starting rclip and limbeck, as far as rclip starts without its model.

    python benchmarks/rclip_start.py VENV/bin/python INDEX [--out docs/results/parts/rclip-start.json]

VENV has rclip installed. A search of rclip downloads its model first, so only its help is timed: it imports everything
that a search imports. Beside it stand the help of limbeck and a whole `limbeck search`. Each is the median of nine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from cold_search import RUNS, processor_seconds, searches

ROOT = Path(__file__).resolve().parents[1]
VERSION = "import importlib.metadata as m; print(m.version('rclip'))"


def main() -> None:
    """Measure and write the part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python")
    parser.add_argument("index", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/parts/rclip-start.json")
    given = parser.parse_args()
    version = subprocess.run([given.python, "-c", VERSION], check=True, capture_output=True, text=True).stdout
    call = "import sys; from rclip.main import main; main()"
    helps = [processor_seconds(None, given.python, "--help", call=call)[0] for _ in range(1 + RUNS)]
    ours = [processor_seconds(ROOT / "src", sys.executable, "search", "--help")[0] for _ in range(1 + RUNS)]
    answer = {
        "rclip": version.strip(),
        "rclip_help": statistics.median(helps[1:]),
        "limbeck_help": statistics.median(ours[1:]),
        "limbeck_search": searches(ROOT / "src", sys.executable, given.index.resolve())["median"],
        "runs": RUNS,
    }
    given.out.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
