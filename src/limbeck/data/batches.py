"""From rows of a pairs table to batches of tensors, equal on every run (torch).

The order is that of `limbeck.data.order`. The shown caption and the crop come from a generator seeded by
(seed, epoch, id), so that they do not depend on resuming, chunks or the number of processes and threads. A
frozen backbone's outputs are computed once and then read.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from limbeck.data.decoded import Opened, decoded
from limbeck.data.inputs import Input
from limbeck.data.order import Order
from limbeck.data.subset import Subset, members
from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.bags import Bags
from limbeck.encoders.cache import BackboneCache, Parts, key_of_items
from limbeck.encoders.encode import Block, backbone_outputs, collated, output_blocks
from limbeck.encoders.inputs import Bagged, Cached, Sets, TowerInputs, map_tensors, named_tensors
from limbeck.encoders.masking import drawn
from limbeck.encoders.transforms import random_part
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.pictures import LazyPictures, file_of
from limbeck.preprocess import Reads

AHEAD = 2  # batches in preparation: the threads decode the second while the first is put together
PROJECTED_BYTES = 2**30  # of projected features in the cache; a million rows of 256


@dataclass(frozen=True)
class Batch:
    """One process's share of a global batch.

    Attributes:
        inputs: the tensors of each named input of the method.
        ids: the ids of the pairs.
        rows: (B,) positions of the pairs in the training set.
        labels: (B, C) of 0 and 1, or None where the data set has no labels.
    """

    inputs: dict[str, TowerInputs]
    ids: list[str]
    rows: torch.Tensor
    labels: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known_labels(self) -> torch.Tensor:
        """The labels (B, C).

        Raises:
            LimbeckError: the data set has no labels.
        """
        if self.labels is None:
            raise LimbeckError(
                "training: the method reads labels and the data set has none; import labels",
                code="E-DATA-LABELS",
            )
        return self.labels

    def with_input(self, name: str, inputs: TowerInputs) -> Batch:
        """Return the batch with the tensors of one input replaced."""
        return replace(self, inputs=self.inputs | {name: inputs})

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return self._map(lambda x: x.to(device, non_blocking=True), self.ids)

    def part(self, start: int, stop: int) -> Batch:
        """Return the pairs ``start`` to ``stop - 1``."""
        return self._map(lambda x: x[start:stop], self.ids[start:stop])

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor], ids: list[str]) -> Batch:
        inputs = {name: map_tensors(own, change) for name, own in self.inputs.items()}
        return Batch(inputs, ids, change(self.rows), None if self.labels is None else change(self.labels))

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield every tensor with its dotted name, such as ``image.pixel_values``."""
        for name, own in self.inputs.items():
            for key, value in named_tensors(own):
                yield f"{name}.{key}", value
        if self.labels is not None:
            yield "labels", self.labels
        yield "rows", self.rows


def draw(seed: int, epoch: int, item_id: str) -> int:
    """Return a 63-bit number that depends only on seed, epoch and id."""
    return (
        int.from_bytes(
            hashlib.blake2b(f"{seed}|{epoch}|{item_id}".encode(), digest_size=8).digest(), "little"
        )
        >> 1
    )


class InputReader:
    """Read one named input of a subset: raw items, or the stored outputs of its frozen backbone."""

    def __init__(self, view: Subset, spec: Input, backbone: Backbone, cache: BackboneCache | None) -> None:
        self.view, self.spec, self.backbone = view, spec, backbone
        self.is_image = spec.column == "image"
        self.reads = Reads.of(backbone.reads)
        # A frozen backbone sees the whole picture, so that stored and computed outputs agree.
        self.whole = backbone.worth_caching
        self.items = [] if self.is_image else view.candidates(spec)
        self.stored: np.ndarray | Parts | None = None
        self.bags: Bags | None = None
        if not self.is_image:
            self._store_texts(cache if self.whole else None)
        elif cache is not None and self.whole and not self._projects_too_much():
            key = sha256_json([view.pairs.fingerprint, view.ids, self._stamps()])
            self.stored = cache.parts(backbone, key, len(view), self._outputs)

    @property
    def decodes(self) -> bool:
        """True when it opens pictures, which any number of threads may do at a time."""
        return self.is_image and self.stored is None and self.reads.kind == "pixels"

    def _projects_too_much(self) -> bool:
        """Return True when cached projections would be large; the features are on disk already."""
        return self.reads.kind == "features" and len(self.view) * self.backbone.dim * 4 > PROJECTED_BYTES

    def _store_texts(self, cache: BackboneCache | None) -> None:
        """Keep the words of all texts where the tower has a bag, and all other outputs in the cache."""
        bag, cached = self.backbone.bag, self.backbone
        if bag is not None and cached is not bag and cache is None:
            bag = None  # the other part is computed at every step
        if bag is None and cache is None:
            return
        distinct = list(
            dict.fromkeys(text for items in self.items for item in items for text in members(item))
        )
        self.position = {text: i for i, text in enumerate(distinct)}
        if bag is not None:
            self.bags = Bags(bag, distinct)
            if (beside := cached.beside_bag) is None:
                return
            cached = beside
        key = key_of_items(distinct)
        if key is not None and cache is not None:
            self.stored = cache.outputs(cached, key, len(distinct), lambda: output_blocks(cached, distinct))

    def _outputs(self, start: int, stop: int) -> Iterator[Block]:
        """Compute the outputs of positions ``start`` to ``stop - 1``, numbered from 0."""
        blocks = np.array_split(np.arange(start, stop), max(1, (stop - start) // 128)) if stop > start else []
        for positions, rows in backbone_outputs(self.backbone, self.batches(blocks)):
            yield positions - start, rows

    def _stamps(self) -> list[tuple[str, int, int]]:
        """Return path, size and modification time of the files, which the fingerprint leaves out."""
        pairs = self.view.pairs
        if self.reads.kind == "features":
            files = [pairs.feature_files[self.reads.name].path]
        else:
            kind, root = pairs.media or ("zip", pairs.path)
            rows = self.view.rows.tolist() if kind != "zip" else []
            paths = [file_of(pairs.image_path(row) or "") for row in rows]
            files = [root / path for path in dict.fromkeys(paths)] or [root]
        found = [(file, file.stat()) for file in files if file.exists()]
        return [(str(file.resolve()), stat.st_size, stat.st_mtime_ns) for file, stat in found]

    def one(self, position: int, draw: int | None, opened: Opened) -> Inputs:
        """Return the tensors (1, …) of a picture; ``opened`` holds it at the sizes decoded so far."""
        row, size = int(self.view.rows[position]), self._size
        part = None if draw is None else self.spec.part
        if part is not None and size is not None:  # large enough for the shorter side of the smallest part
            size = math.ceil(size / math.sqrt(0.75 * part[0]))
        if size not in opened:
            opened[size] = self.view.pairs.open_image(row, size=size)
        image = opened[size]
        if part is not None:
            image = random_part(image, part, torch.Generator().manual_seed(draw or 0))
        vary = draw is not None and not self.whole
        return self.backbone.collate([image], [torch.Generator().manual_seed(draw or 0)] if vary else None)

    @property
    def _size(self) -> int | None:
        return getattr(self.backbone, "image_size", None)

    def batches(self, blocks: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, TowerInputs]]:
        """Yield the tensors of the first items at each block of positions; pictures are opened in threads."""
        if self.decodes:
            opens = partial(self.view.pairs.open_image, size=self._size)
            pictures = LazyPictures([partial(opens, row) for row in self.view.rows.tolist()])
            return collated(self.backbone, pictures, blocks)
        return ((block, self.inputs(block)) for block in blocks)

    def inputs(self, positions: np.ndarray, draws: Sequence[int] | None = None) -> TowerInputs:
        """Return tensors of positions (B,); ``draws`` (one per position) choose caption and crop."""
        if self.decodes:
            return self.masked(decoded([self], positions, draws)[0], draws)
        if self.is_image:
            if self.stored is not None:
                return Cached(torch.from_numpy(np.array(self.stored[positions])))
            features: Any = self.view.pairs.features(self.reads.name, self.view.rows[positions])
            vary = draws is not None and not self.whole
            generators = [torch.Generator().manual_seed(draw) for draw in draws or []] if vary else None
            return self.masked(self.backbone.collate(features, generators), draws)
        chosen = draws if draws is not None else [0] * len(positions)
        items = [
            self.items[p][d % len(self.items[p])] for p, d in zip(positions.tolist(), chosen, strict=True)
        ]
        if self.bags is not None or self.stored is not None:
            return self._known(items)
        return (
            Sets.collate(self.backbone, items)
            if any(isinstance(item, tuple) for item in items)
            else self.backbone.collate(items)
        )

    def masked(self, inputs: Inputs, draws: Sequence[int] | None) -> Inputs:
        """Add the patches that the tower sees in training."""
        if draws is None or self.spec.mask is None:
            return inputs
        return inputs | drawn(self.spec.mask, self.backbone.patches, draws)

    def _known(self, items: list[Any]) -> Cached | Bagged:
        """Return words and stored outputs (B, …) of texts; a set of texts gets its mean."""
        sets = [[self.position[text] for text in members(item)] for item in items]
        rows = torch.zeros(len(sets), 0) if self.stored is None else _means(self.stored, sets)
        return Cached(rows) if self.bags is None else self.bags.inputs(sets, rows)


def _means(stored: np.ndarray | Parts, sets: list[list[int]]) -> torch.Tensor:
    """Return the mean row (B, …) of each set of positions."""
    if all(len(own) == 1 for own in sets):
        return torch.from_numpy(np.array(stored[[own[0] for own in sets]]))
    return torch.from_numpy(np.stack([stored[own].mean(axis=0) for own in sets]))


class Batches:
    """Batches by step number, so that training can start at any step.

    Args:
        view: the training rows.
        sources: inputs by name.
        batch_size: the number of pairs per step over all processes; at most all of ``view``.
        seed: the seed of order, captions and crops.
        rank: the number of this process.
        world: the number of processes, which share every batch: process r has the r-th part of it.
        remainder, window: see `limbeck.data.order.Order`.
        workers: the number of threads that decode pictures.

    Attributes:
        waited: the seconds that `iterate` waited for batches so far.

    Raises:
        LimbeckError: there are no rows, or the processes cannot share a batch equally.
    """

    def __init__(
        self,
        view: Subset,
        sources: dict[str, InputReader],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        remainder: Literal["drop", "carry"] = "drop",
        window: int | None = None,
        workers: int = 1,
    ) -> None:
        if not len(view):
            raise LimbeckError(
                "training: no pairs are left to train on; check protocol and text column",
                code="E-TRAIN-EMPTY",
            )
        self.view, self.sources, self.seed, self.rank, self.world = view, sources, seed, rank, world
        if batch_size % world:
            near = max(1, batch_size // world) * world
            raise LimbeckError(
                f"schedule.batch_size: {batch_size} pairs cannot be shared equally by {world} processes; "
                f"set {near} or {near + world}",
                code="E-CONFIG-VALUE",
            )
        self.batch_size = min(batch_size, len(view) // world * world)
        if self.batch_size < 1:
            raise LimbeckError(
                f"training: {len(view)} pairs cannot be shared by {world} processes; start fewer",
                code="E-CONFIG-VALUE",
            )
        self.order = Order(len(view), self.batch_size, seed, remainder, window)
        self.steps_per_epoch, self.steps, self.epoch = (
            self.order.steps_per_epoch,
            self.order.steps,
            self.order.epoch,
        )
        self.workers, self.waited, self._lock = workers, 0.0, threading.Lock()

    def at(self, step: int, pool: Executor | None = None) -> Batch:
        """Return this process's share of the batch of a step; the threads of ``pool`` decode pictures."""
        positions, epochs = (np.array_split(x, self.world)[self.rank] for x in self.order.batch(step))
        ids = [self.view.ids[p] for p in positions.tolist()]
        draws = [draw(self.seed, epoch, one) for epoch, one in zip(epochs.tolist(), ids, strict=True)]
        decoding = {name: source for name, source in self.sources.items() if source.decodes}
        found = decoded(list(decoding.values()), positions, draws, pool)
        pictures = dict(zip(decoding, found, strict=True))
        with self._lock:  # tokenizers and towers of other files need not be safe to call from two threads
            inputs = {
                name: source.masked(pictures[name], draws)
                if name in pictures
                else source.inputs(positions, draws)
                for name, source in self.sources.items()
            }
        labels = None if self.view.labels is None else self.view.labels[positions]
        return Batch(inputs, ids, torch.from_numpy(positions.copy()), labels)

    def iterate(self, start: int, stop: int) -> Generator[Batch]:
        """Yield the batches of steps start to stop - 1; the next `AHEAD` are prepared while one is in use."""
        makers, pool = ThreadPoolExecutor(AHEAD), ThreadPoolExecutor(self.workers, "decode")
        try:
            first = range(start, min(start + AHEAD, stop))
            coming = deque(makers.submit(self.at, step, pool) for step in first)
            for step in range(start, stop):
                began = time.perf_counter()
                batch = coming.popleft().result()
                self.waited += time.perf_counter() - began
                if step + AHEAD < stop:
                    coming.append(makers.submit(self.at, step + AHEAD, pool))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
            makers.shutdown(cancel_futures=True)
