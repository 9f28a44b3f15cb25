"""Several processes as one: gather rows, average gradients, agree, and stop when a process is lost."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from limbeck.errors import LimbeckError
from limbeck.methods import Outputs

OutputsT = TypeVar("OutputsT", bound=Outputs)
BUCKET = 2**25
"""The most numbers that are averaged by one call, which bounds the copy."""


def several() -> bool:
    """Return whether this process is one of several."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Return the number of this process, 0 for the only one."""
    return dist.get_rank() if several() else 0


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Run a collective operation.

    Raises:
        LimbeckError: another process has ended, or does not answer within `launch.WORK_SECONDS`.
    """
    try:
        yield
    except RuntimeError as error:
        if not several():
            raise
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = re.sub(r"^\[\S+\] ", "", line).split(". ")[0]  # without the place in gloo's source
        raise LimbeckError(
            f"process {rank()} of {dist.get_world_size()} stops, because another process was lost "
            f"({reason[:120].rstrip('.')}); read its message, then continue with --resume",
            code="E-PROCESS-LOST",
        ) from error


class _Rows(Protocol):
    n: int  # of this process


class _Gather(torch.autograd.Function):
    """All-gather with gradient, which `torch.distributed` does not have (ours)."""

    @staticmethod
    def forward(ctx: _Rows, rows: torch.Tensor) -> torch.Tensor:
        ctx.n = len(rows)
        return torch.cat(all_gather(rows))

    @staticmethod
    def backward(ctx: _Rows, *grads: torch.Tensor) -> torch.Tensor:
        grad = grads[0].contiguous().clone()
        with together():
            dist.all_reduce(grad)
        start = rank() * ctx.n
        return grad[start : start + ctx.n]


def all_gather(rows: torch.Tensor) -> list[torch.Tensor]:
    """Return the tensors of all processes, which have one shape, in rank order."""
    if not several():
        return [rows]
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    with together():
        dist.all_gather(parts, rows.contiguous())
    return parts


def gathered(outputs: OutputsT) -> OutputsT:
    """Return the rows (b, …) of all processes as (b · world, …) in rank order; backward sums over them."""
    return outputs.map(_Gather.apply) if several() else outputs


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Average the gradients over processes in place: each process computes the same loss of all rows.

    The gradients are sent in buckets of at most `BUCKET` numbers.
    """
    if not several():
        return
    bucket: list[torch.Tensor] = []
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        if bucket and (
            bucket[0].dtype != p.grad.dtype or sum(g.numel() for g in bucket) + p.grad.numel() > BUCKET
        ):
            _average(bucket)
            bucket = []
        bucket.append(p.grad)
    if bucket:
        _average(bucket)


def _average(gradients: list[torch.Tensor]) -> None:
    flat = torch.cat([grad.flatten() for grad in gradients])
    with together():
        dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat.split([grad.numel() for grad in gradients])
    for grad, part in zip(gradients, parts, strict=True):
        grad.copy_(part.view_as(grad))


def any_process(flag: bool, device: torch.device) -> bool:
    """Return whether the flag is set on any process; all processes call this at the same place."""
    if not several():
        return flag
    found = torch.tensor([float(flag)], device=device)
    with together():
        dist.all_reduce(found)
    return bool(found.item())


def barrier(fabric: Fabric) -> None:
    """Wait for all processes."""
    with together():
        fabric.barrier()
