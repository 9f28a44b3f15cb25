"""The scenes data set as a pairs directory: one stored zip of JPEGs, the table, the JSON."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from limbeck.data.pairs import write_into
from limbeck.data.schema import PAIRS
from limbeck.data.synthetic import captions as words
from limbeck.data.synthetic.draw import draw_scene
from limbeck.data.synthetic.sample import Distinct, Scene, sample_scene
from limbeck.data.synthetic.taxonomy import LABELS
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir

# The split repeats with the scene's number, so that a larger set begins with the smaller one.
PATTERN = ("train",) * 4 + ("test",) + ("train",) * 2 + ("val",) + ("train",) * 2 + ("test", "heldout")
ARCHIVE = "images.zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date: the same seed gives the same bytes
_TRIES = 1000


def generate_scenes(
    out: str | Path,
    n: int,
    seed: int = 0,
    *,
    size: int = 64,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write ``n`` scenes (12 or more) as a pairs directory, deterministic in (n, seed, size).

    Of every twelve scenes eight are train, one val, two test, and one heldout (with a combination of colour
    and shape that no other split has). The first caption of a scene is true of no other scene of its split.
    Pictures have ``size`` × ``size`` pixels, 32 to 512; ``progress`` is called with (done, n).

    Raises:
        LimbeckError: a number is out of range, or ``out`` exists (with ``replace``: and is anything else).
    """
    if n < len(PATTERN):
        raise LimbeckError(
            f"scenes: n is {n}; at least {len(PATTERN)} are needed to fill every split", code="E-OPTION-RANGE"
        )
    if not 32 <= size <= 512:
        raise LimbeckError(f"scenes: size is {size}; choose 32 to 512 pixels", code="E-OPTION-RANGE")
    if seed < 0:
        raise LimbeckError(f"scenes: seed is {seed}; choose 0 or more", code="E-OPTION-RANGE")
    columns: dict[str, list[object]] = {
        name: [] for name in ("id", "image", "captions", "tags", "labels", "path", "split")
    }
    distinct = {split: Distinct() for split in set(PATTERN)}
    with atomic_dir(out, replaces=PAIRS if replace else None) as aside:
        with zipfile.ZipFile(aside / ARCHIVE, "w", zipfile.ZIP_STORED) as archive:
            for number in range(n):
                split = PATTERN[number % len(PATTERN)]
                scene, rng = _draw_distinct(seed, number, split, distinct[split])
                name = f"scene{number:06d}"
                data = io.BytesIO()
                draw_scene(scene, rng, size).save(data, "JPEG", quality=92, subsampling=0)
                archive.writestr(zipfile.ZipInfo(f"{name}.jpg", _EPOCH), data.getvalue())
                columns["id"].append(name)
                columns["image"].append(f"{name}.jpg")
                columns["captions"].append(words.captions(scene))
                columns["tags"].append(words.tags(scene, rng))
                columns["labels"].append(words.labels(scene))
                columns["path"].append(words.class_path(scene))
                columns["split"].append(split)
                if progress is not None:
                    progress(number + 1, n)
        meta = {
            "name": "scenes",
            "label_names": list(LABELS),
            "media": {"kind": "zip", "root": ARCHIVE},
            "generator": {"n": n, "seed": seed, "size": size},
        }
        write_into(aside, columns, meta)


def _draw_distinct(
    seed: int, number: int, split: str, distinct: Distinct
) -> tuple[Scene, np.random.Generator]:
    """Return a scene that differs from the earlier ones of its split, and the generator to draw it with."""
    for attempt in range(_TRIES):
        rng = np.random.default_rng([seed, number, attempt])
        scene = sample_scene(rng, held_out=split == "heldout")
        if distinct.accept(scene):
            return scene, rng
    raise LimbeckError(
        f"scenes: found no new scene for number {number}; choose a smaller n", code="E-OPTION-RANGE"
    )
