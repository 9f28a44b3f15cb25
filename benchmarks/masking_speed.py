"""Time a training step of MERU on whole pictures and of HMID-Net on some patches, side by side in one run.

    python benchmarks/masking_speed.py [--batch 256] [--steps 8] [--precision 32] [--threads N] [--out FILE]

Image tower: 64 px, patch 8, width 192, 6 layers; text tower: width 192, 4 layers, every text 32 tokens. The step is
the loop's own: batch from the loader (pictures decoded beforehand), teacher's outputs from the cache, forward,
backward, AdamW. The variants take turns step by step, so that a busy neighbour slows all alike; times are medians.
The bound is what the step would gain if time were multiply-adds, as torch counts them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limbeck.data.batches import Batches
from limbeck.data.pairs import Pairs
from limbeck.encoders.cache import BackboneCache
from limbeck.environment import environment
from limbeck.files import write_atomic, write_json
from limbeck.methods import TrainState
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.flops import set_train_mode
from limbeck.training.optim import build_optimizer
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from limbeck.training.step import forward_backward

HMID = {"name": "hmid-net", "teacher": "TEACHER", "target": "none"}
VARIANTS: dict[str, dict[str, Any]] = {
    "MERU, whole pictures": {"name": "meru"},
    "HMID-Net, whole pictures, no decoder": HMID | {"mask": {"ratio": 0.0}},
    "HMID-Net, 50 % dropped, no decoder": HMID | {"mask": {"ratio": 0.5}},
    "HMID-Net, 75 % dropped, no decoder": HMID | {"mask": {"ratio": 0.75}},
    "HMID-Net, 50 % dropped, decoder, teacher's patches": HMID
    | {"mask": {"ratio": 0.5}, "target": "teacher"},
    "HMID-Net, 75 % dropped, decoder, teacher's patches": HMID
    | {"mask": {"ratio": 0.75}, "target": "teacher"},
    "HMID-Net, 50 % dropped, decoder, pixels": HMID | {"mask": {"ratio": 0.5}, "target": "pixels"},
    "HMID-Net, 75 % dropped, decoder, pixels": HMID | {"mask": {"ratio": 0.75}, "target": "pixels"},
    "HMID-Net, 50 % dropped, decoder, own average": HMID | {"mask": {"ratio": 0.5}, "target": "ema"},
}
PROTOCOL = """
name: speed
task: retrieval
text: {column: captions}
splits: {query: {column_value: test}, train: {column_value: train}}
relevance: paired
metric: {ks: [1]}
validation: {size: 1, seed: 0}
"""


def write_data(folder: Path, rows: int) -> tuple[Path, Path]:
    """Random pictures and texts that fill the context."""
    rng = np.random.default_rng(0)
    (folder / "media").mkdir()
    for i in range(rows):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "media" / f"{i}.png")
    columns = {
        "id": [str(i) for i in range(rows)],
        "image": [f"{i}.png" for i in range(rows)],
        "captions": [[" ".join(f"w{w}" for w in rng.integers(0, 4000, 40))] for _ in range(rows)],
        "split": ["test" if i < 2 else "train" for i in range(rows)],
    }
    Pairs.write(
        folder / "pairs",
        columns,
        {"name": "speed", "label_names": [], "media": {"kind": "folder", "root": str(folder / "media")}},
    )
    write_atomic(folder / "speed.yaml", PROTOCOL)
    return folder / "pairs", folder / "speed.yaml"


def recipe_of(pairs: Path, protocol: Path, method: dict[str, Any], batch: int) -> dict[str, Any]:
    return {
        "name": "speed",
        "data": {"pairs": str(pairs), "protocol": str(protocol)},
        "towers": {
            "image": {"backbone": {"kind": "clip_image"}},
            "text": {"backbone": {"kind": "clip_text"}},
        },
        "lift": {"kind": "tangent", "dim": 256},
        "schedule": {"steps": 1, "batch_size": batch},
        "stages": {"one": {"method": method}},
    }


class Trainee:
    """One variant: method, prepared batches, optimizer."""

    def __init__(self, tree: dict[str, Any], steps: int, cache: BackboneCache) -> None:
        recipe = load_recipe(tree)
        stage = recipe.last
        data = open_data(recipe)
        self.method = build_method(stage, data, {}, 0)
        sources = input_readers(self.method, data.train, cache)
        batches = Batches(data.train, sources, batch_size=stage.schedule.batch_size, seed=0)
        self.batches = list(batches.iterate(0, steps))
        self.optimizer, _ = build_optimizer(self.method, stage.optim)

    def step(self, number: int, fabric: Fabric) -> None:
        set_train_mode(self.method)
        state = TrainState(step=number, total_steps=100, epoch=0, seed=0)
        _, reps = forward_backward(self.method, self.batches[number], state, fabric, None)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step(reps, state)

    def multiply_adds(self, fabric: Fabric) -> int:
        """Of forward and backward; plain attention, since fused kernels are not counted everywhere."""
        state = TrainState(step=0, total_steps=100, epoch=0, seed=0)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            forward_backward(self.method, self.batches[0], state, fabric, None)
        self.optimizer.zero_grad(set_to_none=True)
        return counter.get_total_flops() // 2


def measure(batch: int, steps: int, precision: str) -> list[dict[str, Any]]:
    fabric = Fabric(
        accelerator="cpu", devices=1, precision={"32": "32-true", "bf16": "bf16-mixed"}[precision]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs, protocol = write_data(folder, (steps + 2) * batch + 3)
        cache = BackboneCache(folder / "cache")
        teacher = recipe_of(pairs, protocol, {"name": "meru"}, 16)
        train(teacher, out=folder / "teacher", quiet=True)
        trainees = []
        for method in VARIANTS.values():
            taught = {k: str(folder / "teacher") if v == "TEACHER" else v for k, v in method.items()}
            trainees.append(Trainee(recipe_of(pairs, protocol, taught, batch), steps + 2, cache))
        counts = [trainee.multiply_adds(fabric) for trainee in trainees]
        seconds = np.zeros((steps + 2, len(trainees)))
        for step in range(steps + 2):
            for number, trainee in enumerate(trainees):
                start = time.perf_counter()
                trainee.step(step, fabric)
                seconds[step, number] = time.perf_counter() - start
    medians = np.median(seconds[2:], axis=0)  # the first two warm up
    return [
        {
            "variant": variant,
            "median_s": float(medians[i]),
            "best_s": float(seconds[2:, i].min()),
            "speed": float(np.median(seconds[2:, 0] / seconds[2:, i])),
            "bound": counts[0] / counts[i],
        }
        for i, variant in enumerate(VARIANTS)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=256, help="pairs a step")
    parser.add_argument("--steps", type=int, default=8, help="timed steps a variant")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if not given")
    parser.add_argument("--out", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = measure(options.batch, options.steps, options.precision)
    print(f"{'variant':<52}{'median ms':>11}{'best ms':>9}{'speed':>7}{'bound':>7}")
    for row in rows:
        times = f"{1e3 * row['median_s']:>11.1f}{1e3 * row['best_s']:>9.1f}"
        print(f"{row['variant']:<52}{times}{row['speed']:>7.2f}{row['bound']:>7.2f}")
    if options.out:
        settings = {key: getattr(options, key) for key in ("batch", "steps", "precision", "threads")}
        settings["malloc"] = {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")}
        versions, machine = environment()
        write_json(
            options.out, {"settings": settings, "versions": versions, "machine": machine, "results": rows}
        )


if __name__ == "__main__":
    main()
