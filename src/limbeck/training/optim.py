"""Build AdamW with parameter groups by tower and weight decay, and the cosine schedule with warm-up."""

from __future__ import annotations

import math

import torch

from limbeck.methods import Method
from limbeck.training.recipe import OptimConfig


def build_optimizer(method: Method, config: OptimConfig) -> tuple[torch.optim.Optimizer, list[str]]:
    """Build AdamW (Loshchilov and Hutter 2019) over the trainable parameters.

    Parameters of fewer than two dimensions (norm gains, biases, temperatures) get no weight decay.
    ``lr_scale`` multiplies the learning rate of a tower and its head.

    Returns:
        The optimizer, and the parameter names in its order.
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
    """Learning rate with linear warm-up over a share of the steps, then cosine decay to zero."""

    def __init__(self, optimizer: torch.optim.Optimizer, *, total: int, warmup: float) -> None:
        self.optimizer, self.total, self.warmup = optimizer, total, round(warmup * total)

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate at a step."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.total - self.warmup)))

    def set(self, step: int) -> float:
        """Set the learning rate of every group, and return the largest."""
        for group in self.optimizer.param_groups:
            group["lr"] = group.get("base_lr", 0.0) * self.factor(step)
        return float(max(group["lr"] for group in self.optimizer.param_groups))
