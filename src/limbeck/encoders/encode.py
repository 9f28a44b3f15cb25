"""The loop that runs a model over many items.

Training caches, validation, evaluation, `limbeck encode` and queries all use it. Items are collated in
blocks, the model reads each block in eval mode without gradients, and float32 rows come back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.inputs import TowerInputs, backbone_output, map_tensors
from limbeck.pictures import PIXEL_BUDGET, open_picture
from limbeck.pictures.decoding import default_workers, read_ahead
from limbeck.preprocess.base import Item

Key = TypeVar("Key")
# Positions (b,) in the list of items, and the float32 outputs (b, …) there.
Block = tuple[np.ndarray, np.ndarray]


def encode(
    model: nn.Module,
    compute: Callable[[TowerInputs], Sequence[torch.Tensor | np.ndarray]],
    batches: Iterable[tuple[Key, TowerInputs]],
) -> Iterator[tuple[Key, list[np.ndarray]]]:
    """Run a model over batches, in eval mode and without gradients; its modes are restored after each batch.

    Args:
        model: the module that ``compute`` runs; the inputs are moved to its device.
        compute: maps the inputs of a batch to arrays with one row per item.
        batches: a key per batch, such as its rows, and its inputs; a batch may be empty.

    Yields:
        The key of each batch and its arrays, tensors as float32; none for an empty batch.
    """
    device = device_of(model)
    for key, inputs in batches:
        with inference(model):
            found = compute(map_tensors(inputs, lambda x: x.to(device))) if inputs else ()
        yield key, [x if isinstance(x, np.ndarray) else x.float().cpu().numpy() for x in found]


@contextlib.contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Disable gradients and switch to eval mode; restore the mode of every module afterwards."""
    training = [module for module in model.modules() if module.training]
    for module in training:  # `eval` would walk over all modules again, which costs as much as a small batch
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a module's weights; the CPU where it has none."""
    return next((t.device for t in chain(model.parameters(), model.buffers())), torch.device("cpu"))


def blocks_of(count: int, size: int) -> list[np.ndarray]:
    """Cut positions 0 … count - 1 into blocks of ``size``; the last one may be smaller."""
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def even_blocks(positions: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut positions into blocks of nearly equal size, at most ``size``: a product of few rows may round
    differently."""
    return np.array_split(positions, -(-len(positions) // size)) if len(positions) else []


def collated(
    backbone: Backbone, items: Sequence[Item] | np.ndarray, blocks: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, Inputs]]:
    """Collate items block by block; threads open and preprocess pictures while the model works.

    Args:
        backbone: collates; each row depends on its own item only.
        items: pictures or their paths, feature rows, texts or label lists.
        blocks: the positions of the items of each batch.
    """
    if backbone.reads != "pixels":
        for block in blocks:
            yield block, backbone.collate([items[i] for i in block.tolist()])
        return

    def read(position: int) -> Inputs:
        with PIXEL_BUDGET.keep():
            item = items[position]
            return backbone.collate([open_picture(item) if isinstance(item, str | Path) else item])

    order = [position for block in blocks for position in block.tolist()]
    ahead = 2 * max(map(len, blocks), default=0) + default_workers()
    with closing(read_ahead(order, read, ahead)) as coming:
        for block in blocks:
            yield block, joined([next(coming)[1].result() for _ in block])


def joined(parts: Sequence[Inputs]) -> Inputs:
    """Join the rows of several collated inputs."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}


def backbone_outputs(
    backbone: Backbone, batches: Iterable[tuple[np.ndarray, TowerInputs]]
) -> Iterator[Block]:
    """Compute the outputs of a backbone, as a cache keeps them: (b, dim), except for patches."""
    return (
        (block, rows)
        for block, (rows,) in encode(backbone, lambda inputs: [backbone_output(backbone, inputs)], batches)
    )


def output_blocks(
    backbone: Backbone, items: Sequence[Any] | np.ndarray, batch_size: int = 128
) -> Iterator[Block]:
    """Compute the outputs of a backbone for items, without augmentation; each position comes once."""
    # Texts of similar length share a block: less padding, several times faster.
    order = np.arange(len(items))
    if backbone.reads == "text":
        order = np.argsort([len(text) for text in items], kind="stable")
    return backbone_outputs(backbone, collated(backbone, items, even_blocks(order, batch_size)))
