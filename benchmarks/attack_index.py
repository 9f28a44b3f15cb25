"""The attack of docs/results/inputs.md, automated: damaged files, odd filters, kills, doors that lead outside.

    python benchmarks/attack_index.py [--files 5000] [--filters 100000] [--kills 60] [--scale 1000000] [--seed 0] [--out FILE]

Counts go to standard output as JSON. A part of 0 is left out. Run it at nice 10: it takes one core for some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--filters", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--scale", type=int, default=0, help="rows imported; five times as many codes built")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file; standard output by default")
    given = parser.parse_args()
    found: dict[str, object] = {"seed": given.seed}
    with tempfile.TemporaryDirectory(prefix="limbeck-attack-") as folder:
        work = Path(folder)
        os.environ["LIMBECK_CACHE"] = str(work / "cache")
        os.environ["HF_HUB_OFFLINE"] = "1"
        for name in ("files", "filters", "kills", "scale"):
            if getattr(given, name):
                began = time.perf_counter()
                (work / name).mkdir()
                found[name] = part(name, work / name, getattr(given, name), given.seed)
                print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    text = json.dumps(found, indent=1) + "\n"
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def part(name: str, work: Path, count: int, seed: int) -> object:
    if name == "files":
        from attack.files import attack_files

        return attack_files(work, count, seed)
    if name == "filters":
        from attack.filters import attack_filters

        return attack_filters(count, seed)
    if name == "scale":
        from attack.scale import attack_scale

        return attack_scale(work, count, 5 * count)
    from attack.kills import attack_kills

    return attack_kills(work, count, seed)


if __name__ == "__main__":
    main()
