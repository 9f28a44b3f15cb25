"""AdamW groups by tower and decay, warm-up and cosine."""

from __future__ import annotations

import math

import torch

from limbeck.methods import Method
from limbeck.training.recipe import OptimConfig


def build_optimizer(method: Method, config: OptimConfig) -> tuple[torch.optim.Optimizer, list[str]]:
    """AdamW over what may train: (optimizer, parameter names in its order).

    Norm gains, biases and temperatures (fewer than two dimensions) are never decayed; ``lr_scale`` multiplies
    the rate of a tower and its head.
    """
    groups: dict[tuple[float, bool], list[tuple[str, torch.nn.Parameter]]] = {}
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = next((s for tower, s in config.lr_scale.items() if name.startswith(_prefixes(tower))), 1.0)
        groups.setdefault((scale, parameter.ndim >= 2), []).append((name, parameter))
    ordered = [(scale, decay, members) for (scale, decay), members in sorted(groups.items())]
    names = [name for _, _, members in ordered for name, _ in members]
    if not ordered:
        # A stage without steps (sign codes, ITQ) trains nothing; AdamW refuses an empty list.
        return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0), ["nothing"]
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for _, p in members],
                "weight_decay": config.weight_decay if decay else 0.0,
                "scale": scale,
            }
            for scale, decay, members in ordered
        ],
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        fused=True,  # one pass over the weights: a quarter of the time on the CPU
    )
    for group in optimizer.param_groups:
        group["base_lr"] = config.lr * group["scale"]
    return optimizer, names


def _prefixes(tower: str) -> tuple[str, str]:
    return f"encoder.towers.{tower}.", f"encoder.lift.heads.{tower}."


class Schedule:
    """Linear warm-up over a share of the steps, then cosine to zero."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, total: int, warmup: float) -> None:
        self.optimizer, self.total, self.warmup = optimizer, total, round(warmup * total)

    def factor(self, step: int) -> float:
        """Multiplier of the rate at a step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.total - self.warmup)))

    def set(self, step: int) -> float:
        """Set the rate of every group; returns the base rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("base_lr", 0.0) * self.factor(step)
        return float(max(group["lr"] for group in self.optimizer.param_groups))
