"""How much memory and time do odd pictures take from the file to the model's square?

    python benchmarks/picture_memory.py [--size 224] [--threads 2] [--out FILE]

Each picture is opened and made square in a process of its own, so that the peak of its resident memory is the picture's;
the same process without a picture is measured first and taken off. Pictures are made here. The last row decodes four
16-bit pictures of 13,000 x 13,000 by several threads: room for pixels is shared, so they take their turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from limbeck.environment import environment
from limbeck.files import write_json

# Runs in the child. VmHWM counts from the start of the program; ru_maxrss would count the parent's memory too.
CHILD = """
import json, re, sys, time
from concurrent.futures import ThreadPoolExecutor
from limbeck.errors import LimbeckError
from limbeck.pictures import PIXEL_BUDGET, open_picture, resize_center
size, threads, *files = sys.argv[1:]
def one(file):
    with PIXEL_BUDGET.keep():
        return resize_center(open_picture(file), int(size)).size
started, error = time.perf_counter(), None
try:
    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(one, files))
except LimbeckError as refused:
    error = str(refused).partition(": ")[2]
seconds = time.perf_counter() - started
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps([peak, seconds, error]))
"""


def measure(files: list[Path], size: int, threads: int = 1) -> tuple[float, float, str | None]:
    """Peak memory in MB, seconds, and the refusal if there was one."""
    words = [sys.executable, "-c", CHILD, str(size), str(threads), *map(str, files)]
    answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    peak, seconds, error = json.loads(answer)
    return float(peak), float(seconds), error


def pictures(folder: Path) -> dict[str, Path]:
    """Odd pictures by what they are."""
    made = {}

    def keep(name: str, image: Image.Image, file: str, **options: object) -> None:
        image.save(folder / file, **options)
        made[name] = folder / file

    keep("photo of 4,000 x 3,000 (JPEG)", Image.effect_noise((4000, 3000), 60).convert("RGB"), "photo.jpg")
    keep("60,000 x 1 (PNG)", Image.new("L", (60_000, 1), 128), "line.png")
    keep("1 x 60,000 (PNG)", Image.new("L", (1, 60_000), 128), "column.png")
    keep("1,000,000 x 1 (PNG)", Image.new("L", (1_000_000, 1), 128), "million.png")
    keep("100,000 x 1,000 (PNG)", Image.new("RGB", (100_000, 1000), "red"), "wide.png")
    keep("alpha, 8,000 x 8,000 (PNG)", Image.new("RGBA", (8000, 8000), (9, 9, 9, 9)), "alpha.png")
    deep = Image.fromarray(np.full((13_000, 13_000), 40_000, np.uint16))
    keep("16-bit grey, 13,000 x 13,000 (PNG)", deep, "deep.png", compress_level=1)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = pictures(Path(folder))
        base, _, _ = measure([], args.size)
        cases = {name: ([file], 1) for name, file in made.items()}
        deep = made["16-bit grey, 13,000 x 13,000 (PNG)"]
        cases[f"the same four times, {args.threads} threads"] = ([deep] * 4, args.threads)
        for name, (files, threads) in cases.items():
            peak, seconds, error = measure(files, args.size, threads)
            rows.append(
                {
                    "picture": name,
                    "peak_mb": round(peak - base),
                    "seconds": round(seconds, 2),
                    "refused": error,
                }
            )
            print(f"{name:40} {peak - base:8,.0f} MB {seconds:7.2f} s  {error or ''}")
    if args.out is not None:
        write_json(args.out, {"size": args.size, "rows": rows, "environment": environment()})


if __name__ == "__main__":
    main()
