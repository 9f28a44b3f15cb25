"""Count the files of limbeck that a picture and its caption pass on their way to a gradient, in one training step.

    PYTHONPATH=SRC python benchmarks/picture_path.py

The counting rule. A small CLIP (transformers on generated pictures and captions) trains for three steps on one process.
`sys.setprofile` and `threading.setprofile` see every call of a Python function of limbeck.

* **step**: the calls that draw the second batch, and those from the method's `encode_batch` to the end of `backward`. A
  file counts once, whatever it does there: also where it only checks or counts.
* **step, up to the door of pictures**: the same without what lies behind `open_picture`, which has tests and a page of
  its own.
* **start-up**: the calls of `limbeck.train` before the first batch is drawn.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import limbeck
from limbeck.data.batches import Batches
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.training import fit

ROOT = f"{Path(limbeck.__file__).parent}/"
SIZES = {"width": 32, "layers": 1, "heads": 2}
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "data": {"protocol": "scenes/retrieval"},
    "compute": {"accelerator": "cpu", "precision": "32"},
    "cache": False,
    "lift": {"kind": "sphere", "dim": 8},
    "towers": {
        "image": {"backbone": {"kind": "clip_image", "image_size": 16, "patch_size": 8} | SIZES},
        "text": {"backbone": {"kind": "clip_text", "context": 8} | SIZES},
    },
    "schedule": {"steps": 3, "batch_size": 8, "validate_every": 3},
    "stages": {"clip": {"method": {"name": "clip"}}},
}


def record(pairs: Path, out: Path) -> list[set[str]]:
    """Train, and return the files of start-up, of the step, and of the step up to the door."""
    found: list[set[str]] = [set(), set(), set()]
    start, step, doors = found
    place, drawn = threading.local(), threading.Event()

    def hook(frame: FrameType, event: str, result: Any) -> None:
        code = frame.f_code
        if not code.co_filename.startswith(ROOT) or code.co_name == "<module>":
            return
        behind = getattr(place, "behind", 0)
        if event == "call":
            file = code.co_filename.removeprefix(ROOT)
            if not drawn.is_set():
                start.add(file)
            elif getattr(place, "counts", False):
                step.add(file)
                doors.update([] if behind else [file])
        if code.co_name == "open_picture" and event in ("call", "return"):
            place.behind = behind + (1 if event == "call" else -1)

    def counted(function: Callable[..., Any], second: Callable[..., bool]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            drawn.set()
            place.counts = second(*given)
            try:
                return function(*given)
            finally:
                place.counts = False

        return call

    at, forward_backward = Batches.at, fit.forward_backward
    Batches.at = counted(at, lambda _, number, *rest: number == 1)  # type: ignore[method-assign]
    fit.forward_backward = counted(forward_backward, lambda *given: given[2].step == 1)
    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        limbeck.train(RECIPE, pairs=pairs, out=out, quiet=True)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        Batches.at, fit.forward_backward = at, forward_backward  # type: ignore[method-assign]
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        generate_scenes(Path(folder) / "scenes", n=64, seed=1, size=32)
        start, step, doors = record(Path(folder) / "scenes", Path(folder) / "run")
    print(f"step: {len(step)} files\n  {', '.join(sorted(step))}")
    print(f"step, up to the door of pictures: {len(doors)} files")
    print(f"start-up: {len(start)} files")


if __name__ == "__main__":
    main()
