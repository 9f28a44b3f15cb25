"""Large inputs: a million rows imported, five million codes built and searched, each in a process of its own."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def attack_scale(work: Path, rows: int, codes: int) -> dict[str, Any]:
    """Seconds and most memory of each step."""
    folder = work / "photos"
    folder.mkdir()
    from PIL import Image

    Image.new("RGB", (8, 8)).save(folder / "a.png")
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "image", "caption", "labels"])
        for i in range(rows):
            writer.writerow(
                [f"{i:08}", "a.png" if not i else f"{i}.png", f"a picture, number {i}", "sky;sea"]
            )
    points = np.random.default_rng(0).integers(0, 256, (codes, 8), dtype=np.uint8)
    np.save(work / "codes.npy", points)
    np.save(work / "query.npy", points[-1:])
    (work / "ids.txt").write_text("".join(f"i{i}\n" for i in range(codes)), encoding="utf-8")
    ix = work / "ix"
    search = ("search", ix, "--codes", work / "query.npy", "-k", "5")
    steps: dict[str, tuple[object, ...]] = {
        "data import folder": (
            "data",
            "import",
            "folder",
            folder,
            work / "pairs",
            "--separator",
            ";",
            "--keep-missing",
        ),
        "index build": (
            "index",
            "build",
            "--codes",
            work / "codes.npy",
            "--ids",
            work / "ids.txt",
            "--out",
            ix,
        ),
        "search": search,
        "index engine ivf": ("index", "engine", ix, "--engine", "ivf"),
        "search ivf": (*search, "--engine", "ivf"),
        "search with a filter": (*search, "--where", "id like 'i49*'"),
        "index verify": ("index", "verify", ix),
    }
    counts = {"data import folder": rows} | dict.fromkeys(list(steps)[1:], codes)
    return {
        name: {"rows": counts[name], **measured(lambda words=words: _run(words))}
        for name, words in steps.items()
    }


def measured(work: Callable[[], None]) -> dict[str, Any]:
    """Seconds, most memory in MB and exit status of a forked child."""
    began, child = time.perf_counter(), os.fork()
    if child == 0:
        status = 99
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "status": os.waitstatus_to_exitcode(status),
    }


def _run(words: tuple[object, ...]) -> None:
    from limbeck.cli import main

    sys.argv = ["limbeck", *map(str, words)]
    main()
