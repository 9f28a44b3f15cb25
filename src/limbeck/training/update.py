"""From gradients to new weights: AdamW by groups, schedule, clipping, fp16's scale, and the average."""

from __future__ import annotations

import contextlib
import math

import torch

from limbeck.methods import Method, Outputs, TrainState
from limbeck.training.average import WeightAverage
from limbeck.training.optim import Schedule, build_optimizer
from limbeck.training.processes import average_gradients
from limbeck.training.recipe import OptimConfig

LEAST_SCALE = 2.0**-14
"""At a smaller scale of the loss the gradients are infinite for another reason than fp16's range."""


class Update:
    """Everything between the gradients of a step and the weights of the next one.

    Attributes:
        optimizer: AdamW, with the ``names`` of its parameters in its order.
        parameters: those of the method, in this order; the optimizer may hold aliases (`optim.by_memory`).
        schedule: sets the learning rate of a step.
        scaler: the scale of the loss under fp16; disabled otherwise.
        average: the average of the weights, if the recipe wants one.
    """

    def __init__(self, method: Method, config: OptimConfig, *, total: int = 1, scaled: bool = False) -> None:
        """Build all parts for ``total`` steps; ``scaled`` scales the loss for fp16."""
        self.method, self.config = method, config
        self.optimizer, self.names = build_optimizer(method, config)
        self.schedule = Schedule(self.optimizer, total=total, warmup=config.warmup)
        updated = [p for group in self.optimizer.param_groups for p in group["params"]]
        own = dict(method.named_parameters())
        self.parameters = [own.get(name, p) for name, p in zip(self.names, updated, strict=True)]
        triples = zip(self.names, self.parameters, updated, strict=True)
        self._aliases = {name: (p, alias) for name, p, alias in triples if alias is not p}
        self.scaler = torch.amp.GradScaler(method.encoder.device.type, enabled=scaled)
        self.average: WeightAverage | None = None
        if config.ema is not None:
            self.average = WeightAverage(dict(zip(self.names, self.parameters, strict=True)), config.ema)

    def gradients(self) -> torch.Tensor:
        """Average the gradients over processes, remove the scale, and return their norm."""
        average_gradients(self.parameters)
        for p, alias in self._aliases.values():
            alias.grad = None if p.grad is None else p.grad.t()  # the same memory
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
        return torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def overflowed(self, norm: torch.Tensor) -> bool:
        """Return whether fp16 overflowed, so that `apply` skips the step and lowers the scale."""
        return (
            self.scaler.is_enabled()
            and not bool(torch.isfinite(norm))
            and self.scaler.get_scale() > LEAST_SCALE
        )

    def apply(self, norm: torch.Tensor, outputs: Outputs, state: TrainState) -> None:
        """Change the weights by the gradients of this norm, and remove the gradients."""
        torch.nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip_norm or math.inf, norm)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self._clear()
        self.method.after_step(outputs, state)
        if self.average is not None:
            self.average.update(state.step)

    def skip(self) -> None:
        """Remove the gradients without changing the weights."""
        if self.scaler.is_enabled():
            self.scaler.update()
        self._clear()

    def _clear(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for p, _ in self._aliases.values():
            p.grad = None

    def turned(self, name: str, state: torch.Tensor) -> torch.Tensor:
        """Transpose a moment between the parameter's shape and AdamW's, where they differ."""
        return state.t().contiguous() if name in self._aliases and state.ndim == 2 else state

    def shown(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which the method holds the weights to validate and save, the average if any."""
        return contextlib.nullcontext() if self.average is None else self.average.in_place()
