"""Does `limbeck encode` keep the model as busy as a plain loop with perfect batching over the same pictures?

    python benchmarks/encoding_speed.py [--pictures 800] [--photos DIR] [--image-size 64] [--out FILE]

The plain loop opens, resizes and encodes 64 pictures at a time through the same tower, and writes nothing; decoding
counts on both sides. `limbeck encode` writes the whole encoded set, checksums and all. Both run in turn, five times
each, in one process; the model is made, not trained. Pictures are photographs (--photos), else smooth random JPEGs of
500 x 375.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limbeck.encoders.config import BagConfig, ClipImageConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import HashConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.encoding import encode_source
from limbeck.environment import environment
from limbeck.files import write_json
from limbeck.pictures import open_picture

BATCH, BAR = 64, 0.95


def model(image_size: int) -> DualEncoder:
    """A vision transformer of 6 blocks, width 192, into codes of 64 bits."""
    torch.manual_seed(0)
    image = ClipImageConfig(image_size=image_size, patch_size=8, width=192, layers=6, heads=3)
    towers = {
        "image": Tower(TowerConfig(backbone=image), "image"),
        "text": Tower(TowerConfig(backbone=BagConfig()), "text"),
    }
    towers["text"].fit(["a", "b", "c"] * 3, seed=0)
    lift = build_lift(HashConfig(bits=64), {name: tower.dim for name, tower in towers.items()})
    return DualEncoder(towers["image"], towers["text"], lift).eval().requires_grad_(False)


def make_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:06}.jpg", quality=90)


def plain_loop(encoder: DualEncoder, files: list[Path]) -> np.ndarray:
    """The loop that anyone would write."""
    collate, parts = encoder.towers["image"].backbone.collate, []
    for start in range(0, len(files), BATCH):
        inputs = collate([open_picture(file) for file in files[start : start + BATCH]])
        with torch.no_grad():
            parts.append(encoder.lift.to_storage(encoder.embed("image", inputs)))
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=800)
    parser.add_argument(
        "--photos", type=Path, help="folder of pictures; the first --pictures of it are taken"
    )
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/encoding_speed.json"))
    given = parser.parse_args()
    encoder = model(given.image_size)
    seconds: dict[str, list[float]] = {"encode": [], "loop": []}
    processor = {"encode": 0.0, "loop": 0.0}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        if given.photos is None:
            make_pictures(folder, given.pictures)
        else:
            folder.mkdir()
            for file in sorted(given.photos.rglob("*.jpg"))[: given.pictures]:
                (folder / file.name).symlink_to(file.resolve())
        files = sorted(folder.iterdir())
        plain_loop(encoder, files[:BATCH])
        for _ in range(given.rounds):
            began, busy = time.perf_counter(), time.process_time()
            points = plain_loop(encoder, files)
            seconds["loop"].append(time.perf_counter() - began)
            processor["loop"] += time.process_time() - busy
            began, busy = time.perf_counter(), time.process_time()
            encoded = encode_source(encoder, folder, Path(place) / "out")
            seconds["encode"].append(time.perf_counter() - began)
            processor["encode"] += time.process_time() - busy
            if not (np.asarray(encoded.points) == points).all():
                raise RuntimeError("limbeck encode and the loop differ")
            shutil.rmtree(Path(place) / "out")
    speed = {name: len(files) / statistics.median(times) for name, times in seconds.items()}
    ratios = sorted(a / b for a, b in zip(seconds["loop"], seconds["encode"], strict=True))
    ratio = statistics.median(ratios)
    print(f"plain loop {speed['loop']:7.0f} images/s, limbeck encode {speed['encode']:7.0f} images/s")
    shares = processor["loop"] / processor["encode"]
    print(f"processor time of the loop over that of encode {shares:.3f} (what is left on a busy machine)")
    print(f"ratio {ratio:.3f} (median of {len(ratios)}, {ratios[0]:.3f} to {ratios[-1]:.3f}), bar {BAR}")
    versions, machine = environment()
    claim = {
        "claim": "limbeck encode, share of the images/s of a plain loop with perfect batching, decode included",
        "command": "python benchmarks/encoding_speed.py"
        f" --pictures {given.pictures} --image-size {given.image_size} --rounds {given.rounds}",
        "value": round(ratio, 3),
        "unit": "ratio",
        "bar": BAR,
        "met": ratio >= BAR,
        "seeds": [0],
        "note": f"{speed['encode']:.0f} against {speed['loop']:.0f} images/s, {len(files)} pictures",
    }
    about = {"date": datetime.date.today().isoformat(), "versions": versions, "machine": machine}
    setting = {
        "pictures": len(files),
        "photos": given.photos is not None,
        "image_size": given.image_size,
        "batch": BATCH,
        "load": round(os.getloadavg()[0], 2),
    }
    found = {"images_per_second": speed, "ratios": ratios, "processor_seconds": processor, "claims": [claim]}
    write_json(given.out, about | setting | found)


if __name__ == "__main__":
    main()
