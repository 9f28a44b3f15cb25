"""Our dropout beside torch's on the CPU, forward and backward, at the width of a feature tower's layer.

python benchmarks/dropout.py [--rows 256] [--width 1024]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

from limbeck.encoders.dropout import Dropout


def milliseconds(layer: nn.Module, x: torch.Tensor, repeats: int = 200) -> float:
    """Of one forward and backward pass, the fastest of five rounds."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats // 5):
            layer(x).backward(x)
        rounds.append((time.perf_counter() - start) / (repeats // 5) * 1e3)
    return min(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--width", type=int, default=1024)
    options = parser.parse_args()
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(options.rows, options.width, dtype=dtype, requires_grad=True)
            theirs, ours = (milliseconds(kind(0.2), x) for kind in (nn.Dropout, Dropout))
            print(
                f"{threads} threads, {dtype}: torch {theirs:.2f} ms, ours {ours:.2f} ms, {theirs / ours:.1f} x"
            )


if __name__ == "__main__":
    main()
