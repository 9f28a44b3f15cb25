"""What acts on the repeated blocks of a transformer: depth, recomputing, compiling and sharding."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial, wraps

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.checkpoint import checkpoint

from limbeck.encoders.backbone import Backbone
from limbeck.errors import LimbeckError
from limbeck.methods import Method
from limbeck.training.compute import ComputeConfig

_plain: list[bool] = []


def block_lists(module: nn.Module) -> dict[str, nn.ModuleList]:
    """Return the outermost lists of repeated blocks by name; lists of whole backbones do not count."""
    found: dict[str, nn.ModuleList] = {}
    for name, part in module.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(part, nn.ModuleList) and not inside and not any(isinstance(b, Backbone) for b in part):
            found[name] = part
    return found


def levels(module: nn.Module) -> dict[str, int]:
    """Return how many levels are above each parameter, by its name.

    A block is a level, what is registered before the blocks (embeddings) is another one, and what is
    registered after them (the last norm, the projection) has none above it.
    """
    found = {name: 0 for name, _ in module.named_parameters()}
    for place, blocks in block_lists(module).items():
        owner = place.rpartition(".model.")[0]  # a concatenation of texts has several networks
        own = [name for name in found if name.startswith(f"{owner}." if owner else "")]
        inside = [n for n, name in enumerate(own) if name.startswith(f"{place}.")]
        for name in own[: inside[0] if inside else 0]:
            found[name] = len(blocks) + 1
        for n in inside:
            found[own[n]] = len(blocks) - int(own[n].removeprefix(f"{place}.").split(".")[0])
    return found


def apply_compute(method: Method, compute: ComputeConfig, fabric: Fabric, say: Callable[[str], None]) -> None:
    """Recompute or compile the blocks of trained towers, and shard those of teachers, as a recipe says.

    Raises:
        LimbeckError: weights cannot be sharded over one process.
    """
    trained = [
        block
        for tower in method.encoder.towers.values()
        for blocks in block_lists(tower.backbone).values()
        for block in blocks
        if any(p.requires_grad for p in block.parameters())
    ]
    for key in ("recompute", "compile"):
        if getattr(compute, key) and not trained:
            say(f"compute.{key} has no effect here: no trained tower has transformer blocks")
    for block in trained:
        if compute.recompute:
            _recompute(block)
        if compute.compile:
            block.compile()
    if compute.shard:
        _shard([teacher for teacher in method.teachers.values()], fabric)


def _recompute(block: nn.Module) -> None:
    """Keep only the block's input, and run it again for the backward pass (Chen et al. 2016)."""
    forward = block.forward

    @wraps(forward)
    def again(*given: object, **named: object) -> object:
        if _plain or not torch.is_grad_enabled():
            return forward(*given, **named)
        return checkpoint(partial(forward, **named), *given, use_reentrant=False)

    block.forward = again


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Run blocks once and uncompiled in this context, in which operations are counted."""
    _plain.append(True)
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        _plain.pop()


def _shard(teachers: list[nn.Module], fabric: Fabric) -> None:
    """Split the weights of blocks over all processes (FSDP2); a block gathers its own while it runs."""
    if fabric.world_size == 1:
        raise LimbeckError(
            "recipe: compute.shard splits teachers over processes, and there is one; "
            "set compute.devices to 2 or more, or remove compute.shard",
            code="E-CONFIG-VALUE",
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(fabric.device.type, (fabric.world_size,))
    seen: set[nn.Module] = set()
    for teacher in teachers:
        for blocks in block_lists(teacher).values():
            for block in blocks:
                if block not in seen:
                    fully_shard(block, mesh=mesh, reshard_after_forward=True)
                    seen.add(block)
