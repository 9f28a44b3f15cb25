"""Gather the rows of all processes and keep their gradients, which `torch.distributed` does not (ours)."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist

from limbeck.methods import Outputs

OutputsT = TypeVar("OutputsT", bound=Outputs)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.n = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        start = dist.get_rank() * ctx.n
        return grad[start : start + ctx.n]


def gather_outputs(outputs: OutputsT) -> OutputsT:
    """Return the rows (b, …) of all processes as (b · world, …) in rank order; backward sums over them."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return outputs
    return outputs.map(_Gather.apply)


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Average the gradients over processes in place: each process computes the same loss of all rows."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        dist.all_reduce(p.grad)
        p.grad /= dist.get_world_size()
