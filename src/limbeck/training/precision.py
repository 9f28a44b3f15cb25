"""Half floats where the hardware has them."""

from __future__ import annotations

import torch
from lightning_fabric.plugins import MixedPrecision

from limbeck.environment import environment


def has_bf16(accelerator: str) -> bool:
    """Return whether bf16 runs in hardware; in software it is slower than float32."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(environment()[1]["bf16"])


def half_where_fast(device: torch.device) -> torch.autocast | None:
    """Return a context that computes in bf16, or None on a device that does not have it in hardware."""
    known = device.type in ("cpu", "cuda") and has_bf16(device.type)
    return torch.autocast(device.type, torch.bfloat16) if known else None


def fp16(accelerator: str) -> MixedPrecision:
    """Return Fabric's fp16 plugin; from the name alone, Fabric would use bf16 on the CPU."""
    kind = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    return MixedPrecision("16-mixed", device=kind)
