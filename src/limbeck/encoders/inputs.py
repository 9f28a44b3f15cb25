"""What a tower reads of a batch: its backbone's own tensors, sets of them, bags, or the backbone's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.features import BagBackbone
from limbeck.errors import LimbeckError
from limbeck.preprocess.base import Item

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Cached:
    """The output (B, …) of a frozen backbone, in place of its inputs."""

    backbone_output: torch.Tensor


@dataclass(frozen=True)
class Sets:
    """Collated sets, whose outputs are averaged.

    Attributes:
        inputs: the tensors of the members, (B, P, …); short sets are padded with their first member.
        shares: each member's weight in the mean of its set, (B, P), 0 for padding.
    """

    inputs: Inputs
    shares: torch.Tensor

    @classmethod
    def collate(cls, backbone: Backbone, items: Sequence[Item]) -> Sets:
        """Collate items of which some are tuples, which are sets."""
        sets = [item if isinstance(item, tuple) else (item,) for item in items]
        width = max(map(len, sets))
        inputs = backbone.collate([x for own in sets for x in (*own, *own[:1] * (width - len(own)))])
        shares = torch.tensor([[1 / len(own)] * len(own) + [0.0] * (width - len(own)) for own in sets])
        return cls({k: v.unflatten(0, (len(sets), width)) for k, v in inputs.items()}, shares)


@dataclass(frozen=True)
class Bagged:
    """The words of texts that a bag knows, and the output of the other part of the backbone.

    Attributes:
        bag: has the mean and scale of the counts.
        columns: int64 (B, P), the words of each row; 0 after the last one.
        values: float32 (B, P), their counts in a row of unit length; 0 after the last one.
        beside: the other outputs (B, R), which follow those of the bag.
    """

    bag: BagBackbone
    columns: torch.Tensor
    values: torch.Tensor
    beside: torch.Tensor

    def dense(self) -> torch.Tensor:
        """Return the output (B, V + R) of the backbone."""
        counts = self.values.new_zeros(len(self.values), self.bag.dim)
        counts.scatter_add_(1, self.columns, self.values)
        return torch.cat([self.bag({"counts": counts}), self.beside], dim=1)


TowerInputs = Inputs | Cached | Sets | Bagged


def map_tensors(inputs: TowerInputs, change: Change) -> TowerInputs:
    """Return the same inputs with ``change`` applied to every tensor."""
    if isinstance(inputs, Cached):
        return Cached(change(inputs.backbone_output))
    if isinstance(inputs, Sets):
        return Sets({name: change(x) for name, x in inputs.inputs.items()}, change(inputs.shares))
    if isinstance(inputs, Bagged):
        return Bagged(inputs.bag, change(inputs.columns), change(inputs.values), change(inputs.beside))
    return {name: change(x) for name, x in inputs.items()}


def named_tensors(inputs: TowerInputs) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor with its name."""
    if isinstance(inputs, Cached):
        yield "backbone_output", inputs.backbone_output
        return
    if isinstance(inputs, Bagged):
        yield from {"columns": inputs.columns, "values": inputs.values, "beside": inputs.beside}.items()
        return
    yield from (inputs.inputs if isinstance(inputs, Sets) else inputs).items()
    if isinstance(inputs, Sets):
        yield "shares", inputs.shares


def raw(inputs: TowerInputs) -> Inputs:
    """Return the backbone's own tensors.

    Raises:
        LimbeckError: the inputs are sets, or the output of a frozen tower.
    """
    if isinstance(inputs, Cached | Sets | Bagged):
        raise LimbeckError(
            "training: the method reads patches, which the cache of a frozen tower does not keep; "
            "set cache: false, or freeze no image tower",
            code="E-CONFIG-VALUE",
        )
    return inputs


def backbone_output(backbone: Backbone, inputs: TowerInputs) -> torch.Tensor:
    """Return the output (B, …) of a backbone: the cached one, or for sets the mean over their members."""
    if isinstance(inputs, Cached):
        return inputs.backbone_output
    if isinstance(inputs, Bagged):
        return inputs.dense()
    if not isinstance(inputs, Sets):
        return torch.as_tensor(backbone(inputs))
    found = backbone({k: v.flatten(0, 1) for k, v in inputs.inputs.items()})
    return torch.einsum(
        "bp,bp...->b...", inputs.shares, found.unflatten(0, inputs.shares.shape).to(inputs.shares)
    )
