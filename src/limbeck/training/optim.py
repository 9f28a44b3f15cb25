"""Build AdamW with groups by learning rate and weight decay, and the cosine schedule with warm-up."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from limbeck.methods import Method
from limbeck.training.blocks import levels
from limbeck.training.recipe import OptimConfig


def build_optimizer(method: Method, config: OptimConfig) -> tuple[torch.optim.Optimizer, list[str]]:
    """Build AdamW (Loshchilov and Hutter 2019) over the trainable parameters.

    Parameters of fewer than two dimensions (norm gains, biases, temperatures) get no weight decay.
    ``lr_scale`` multiplies the learning rate of a tower and its head; ``backbone_lr`` is that of a backbone,
    and ``layer_decay`` multiplies it once per level below the top of the backbone.

    Returns:
        The optimizer, and the parameter names in its order.
    """
    groups: dict[tuple[float, bool], list[tuple[str, torch.nn.Parameter]]] = {}
    for name, parameter, _, rate in _rates(method, config):
        groups.setdefault((rate, parameter.ndim >= 2), []).append((name, parameter))
    ordered = [(rate, decay, members) for (rate, decay), members in sorted(groups.items())]
    names = [name for _, _, members in ordered for name, _ in members]
    if not ordered:
        # A stage without steps (sign codes, ITQ) trains nothing; AdamW refuses an empty list.
        return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0), ["nothing"]
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [by_memory(p) for _, p in members],
                "weight_decay": config.weight_decay if decay else 0.0,
                "base_lr": rate,
            }
            for rate, decay, members in ordered
        ],
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        fused=True,  # one pass over the weights: a quarter of the time on the CPU
    )
    return optimizer, names


def by_memory(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    """Return what AdamW updates: the parameter, or its contiguous transpose in the same memory.

    Fused AdamW copies a parameter that is not contiguous, its gradient and its moments at every step.
    """
    if parameter.ndim != 2 or parameter.is_contiguous() or not parameter.t().is_contiguous():
        return parameter
    return torch.nn.Parameter(parameter.detach().t())


def learning_rates(method: Method, config: OptimConfig) -> str:
    """Name the learning rates, the smallest first, each with its parts and their numbers of parameters."""
    sizes: dict[float, dict[str, int]] = {}
    for _, parameter, part, rate in _rates(method, config):
        own = sizes.setdefault(rate, {})
        own[part] = own.get(part, 0) + parameter.numel()
    return "; ".join(
        f"{rate:.3g} for {', '.join(f'{part} ({size:,})' for part, size in own.items())}"
        for rate, own in sorted(sizes.items())
    )


def _rates(method: Method, config: OptimConfig) -> Iterator[tuple[str, torch.nn.Parameter, str, float]]:
    """Yield the name, the part of the model and the learning rate of each trained parameter."""
    factors = {
        f"encoder.towers.{tower}.backbone.{name}": decay**above
        for tower, decay in config.layer_decay.items()
        for name, above in levels(method.encoder.towers[tower].backbone).items()
    }
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            part, rate = _part_and_rate(name, config)
            yield name, parameter, part, rate * factors.get(name, 1.0)


def _part_and_rate(name: str, config: OptimConfig) -> tuple[str, float]:
    """Return the part of the model that a parameter belongs to, and its learning rate."""
    for tower in ("image", "text"):
        scaled = config.lr * config.lr_scale.get(tower, 1.0)
        if name.startswith(f"encoder.towers.{tower}.backbone."):
            return f"{tower} backbone", config.backbone_lr.get(tower, scaled)
        if name.startswith((f"encoder.towers.{tower}.", f"encoder.lift.heads.{tower}.")):
            return f"{tower} head", scaled
    return "lift and method", config.lr


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
