"""Time a training step of CLIP-style towers with all patches and with some, side by side in one run.

    python benchmarks/masking_speed.py [--batch 256] [--steps 10] [--precision 32|bf16] [--threads N] [--out FILE]

Image tower: 64 px, patch 8, width 192, 6 layers; text tower: 32 tokens, width 192, 4 layers. A step is forward,
backward and AdamW. The variants take turns step by step, so that a busy neighbour slows all alike; times are
medians, beside them the best. The bound is what the step would gain if time were multiply-adds: those of the
dense step over those of the variant, forward and backward, as torch counts them. Where glibc
hands large blocks back to the system and fetches them again, the dense step, whose blocks are larger, pays more
than its share, and the speed comes out above the bound: page faults of a step are printed beside. With
MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 in the environment blocks are kept.
"""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limbeck.encoders.config import ClipImageConfig, ClipTextConfig, SphereConfig
from limbeck.encoders.decoder import PatchDecoder
from limbeck.encoders.image import ClipImageBackbone
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.masking import dropped, random_keep
from limbeck.encoders.text import ClipTextBackbone
from limbeck.evaluation.environment import environment
from limbeck.files import write_json
from limbeck.losses import info_nce


@dataclass(frozen=True)
class Variant:
    name: str
    ratio: float = 0.0
    decoder: bool = False


VARIANTS = (
    Variant("dense"),
    Variant("50 % of patches dropped", 0.5),
    Variant("75 % of patches dropped", 0.75),
    Variant("50 % dropped, with decoder", 0.5, decoder=True),
)


class Trainee(torch.nn.Module):
    """Both towers, the sphere, and a decoder where the variant has one."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.variant = variant
        self.image = ClipImageBackbone(ClipImageConfig())
        self.text = ClipTextBackbone(ClipTextConfig())
        self.text.fit([f"word{i}" for i in range(8000)], seed=0)
        self.lift = build_lift(SphereConfig(), {"image": self.image.dim, "text": self.text.dim})
        self.decoder = PatchDecoder(self.image.dim, self.image.grid) if variant.decoder else None
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=1e-4)

    def batch(self, size: int, step: int) -> dict[str, torch.Tensor]:
        """Random pictures, texts of full length, targets of the reconstruction; equal for all variants."""
        generator = torch.Generator().manual_seed(step)
        edge, patches, context = self.image.image_size, self.image.patches, self.text.context
        ids = torch.randint(10, 8000, (size, context), generator=generator)
        ids[:, -1] = self.text.end
        batch = {
            "pixels": torch.randn(size, 3, edge, edge, generator=generator),
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "target": torch.randn(size, patches, self.image.dim, generator=generator),
        }
        if self.variant.ratio:
            draws = [step * size + i for i in range(size)]
            batch["keep"] = random_keep(patches, self.variant.ratio, draws)
        return batch

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        text = self.lift(self.text(batch), "text")
        if self.decoder is None:
            image = self.lift(self.image(batch), "image")
            return info_nce(self.lift.logits(image, text))
        tokens = self.image.tokens(batch)
        image = self.lift(tokens[:, 0], "image")
        places = dropped(batch["keep"], self.image.patches)
        target = batch["target"].gather(1, places[..., None].expand(-1, -1, self.image.dim))
        error = torch.nn.functional.mse_loss(self.decoder(tokens, batch["keep"]).float(), target)
        return info_nce(self.lift.logits(image, text)) + error

    def step(self, batch: dict[str, torch.Tensor], precision: str) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def multiply_adds(trainee: Trainee, batch: dict[str, torch.Tensor]) -> int:
    """Of one forward and backward pass; plain attention, since fused kernels are not counted everywhere."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        trainee.loss(batch).backward()
    return counter.get_total_flops() // 2


def page_faults() -> int:
    """Of this process so far: pages of memory that the system had to provide."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure(batch_size: int, steps: int, precision: str) -> list[dict[str, Any]]:
    trainees = [Trainee(variant).train() for variant in VARIANTS]
    counts = [multiply_adds(t, t.batch(min(batch_size, 8), 0)) for t in trainees]
    seconds, faults = np.zeros((2, steps, len(trainees)))
    for step in range(-2, steps):  # the first two warm up
        for number, trainee in enumerate(trainees):
            batch = trainee.batch(batch_size, step + 2)
            before, start = page_faults(), time.perf_counter()
            trainee.step(batch, precision)
            if step >= 0:
                seconds[step, number] = time.perf_counter() - start
                faults[step, number] = page_faults() - before
    medians = np.median(seconds, axis=0)
    return [
        {
            "variant": trainee.variant.name,
            "median_s": float(medians[i]),
            "best_s": float(seconds[:, i].min()),
            "speedup": float(medians[0] / medians[i]),
            "bound": counts[0] / counts[i],
            "page_faults": int(np.median(faults[:, i])),
        }
        for i, trainee in enumerate(trainees)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=256, help="pairs a step")
    parser.add_argument("--steps", type=int, default=10, help="timed steps a variant")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if not given")
    parser.add_argument("--out", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = measure(options.batch, options.steps, options.precision)
    versions, machine = environment()
    settings: dict[str, Any] = {
        "batch": options.batch,
        "steps": options.steps,
        "precision": options.precision,
    }
    settings |= {"malloc": {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")}}
    print(", ".join(f"{key} {value}" for key, value in (settings | machine).items()))
    print(f"{'variant':<28}{'median ms':>11}{'best ms':>10}{'speed':>8}{'bound':>8}{'page faults':>13}")
    for row in rows:
        times = f"{1e3 * row['median_s']:>11.1f}{1e3 * row['best_s']:>10.1f}"
        print(
            f"{row['variant']:<28}{times}{row['speedup']:>8.2f}{row['bound']:>8.2f}{row['page_faults']:>13}"
        )
    if options.out:
        about = {"settings": settings, "versions": versions, "machine": machine}
        write_json(options.out, about | {"date": datetime.date.today().isoformat(), "results": rows})


if __name__ == "__main__":
    main()
