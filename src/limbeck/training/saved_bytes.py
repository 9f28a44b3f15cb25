"""Count the bytes that a forward pass keeps for the backward pass."""

from __future__ import annotations

import torch
from torch import nn


class SavedBytes:
    """Counts each storage once and leaves out weights; it also works on the meta device."""

    def __init__(self, module: nn.Module) -> None:
        self.weights = {_place(p) for p in module.parameters()}
        self.storages: dict[int, int] = {}
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        if _place(tensor) not in self.weights:
            self.storages[_place(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """The bytes so far."""
        return sum(self.storages.values())

    def __enter__(self) -> SavedBytes:
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)


def _place(tensor: torch.Tensor) -> int:
    """Return the address of a storage object; on the meta device all data have the address 0."""
    return tensor.untyped_storage()._cdata
