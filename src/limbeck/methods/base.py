"""The contract between a method and the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import nn

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.inputs import backbone_output
from limbeck.encoders.towers import RunBackbone


@dataclass(frozen=True)
class TrainState:
    """Where training stands at one step."""

    step: int
    total_steps: int
    epoch: int
    seed: int

    def generator(self) -> torch.Generator:
        """Return this step's random numbers (on the CPU): the same on every process and after a resume."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + self.step) % 2**63)


@dataclass(frozen=True)
class Setup:
    """What a method learns about its training set and its teachers when it is built.

    Attributes:
        rows: number of training pairs; `Batch.rows` are positions among them.
        classes: number of label columns, 0 without labels.
        teachers: frozen models by the name of the input that they read (see `Input.teacher`).
        specs: the entries of a batch by name: `Method.inputs` without the teachers that lack an output.
        label_shares: share of the pairs that have each label (classes,); None without labels.
    """

    rows: int
    classes: int
    teachers: Mapping[str, RunBackbone] = field(default_factory=dict)
    specs: Mapping[str, Input] = field(default_factory=dict)
    label_shares: torch.Tensor | None = None


@dataclass
class Outputs:
    """What the loss needs from a batch: tensors with one row per pair, or None where a part is switched off.

    A method that needs more than `Embeddings` or `LabeledEmbeddings` derives a dataclass with further fields.
    """

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors by field name, without those that are None."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: rows for name, rows in found.items() if rows is not None}

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        """Return the same outputs with ``change`` applied to every tensor."""
        return replace(self, **{name: change(rows) for name, rows in self.tensors().items()})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join the rows of several outputs, in order."""
        joined = {n: torch.cat([part.tensors()[n] for part in parts]) for n in parts[0].tensors()}
        return replace(parts[0], **joined)


@dataclass
class Embeddings(Outputs):
    """Embeddings (B, dim) of the pictures and of their texts."""

    image: torch.Tensor
    text: torch.Tensor


@dataclass
class LabeledEmbeddings(Embeddings):
    """Embeddings and ``labels`` (B, C) of 0 and 1."""

    labels: torch.Tensor


@dataclass
class Losses:
    """What `Method.loss` returns: the scalar to minimise, its parts before weighting, and values to log."""

    total: torch.Tensor
    parts: dict[str, torch.Tensor] = field(default_factory=dict)
    monitors: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The total as a number."""
        return float(self.total.detach())

    @classmethod
    def weighted(
        cls, monitors: dict[str, torch.Tensor] | None = None, **parts: tuple[float, torch.Tensor]
    ) -> Losses:
        """Return the sum of weight × part; a part of weight 0 is not added but is still logged."""
        total = sum((weight * value for weight, value in parts.values() if weight), torch.zeros(()))
        return cls(
            torch.as_tensor(total),
            {name: value.detach() for name, (_, value) in parts.items()},
            monitors or {},
        )


OutputsT = TypeVar("OutputsT", bound=Outputs)


class Method(nn.Module, ABC, Generic[OutputsT]):
    """One paper: what it reads, what it computes per pair, and what it minimises.

    The loop calls `encode_batch` on a batch (or on chunks of it) and gathers the rows of all processes. Then
    it calls `update_buffers` and `loss` once per step on the global batch, and `after_step` after the
    optimizer. A method never sees the process group, the optimizer or the run's files.

    Attributes:
        Config: the method's options, a strict pydantic model.
        supervised: whether the method reads labels.
        needs_features: whether `prepare` needs the features of the whole training set.
    """

    Config: ClassVar[type[Strict]]
    supervised: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False

    def __init__(self, encoder: DualEncoder, config: Strict, setup: Setup) -> None:
        super().__init__()
        self.encoder = encoder
        self.config: Any = config
        self.specs = dict(setup.specs)
        # A tuple hides the frozen teachers from torch: they are not part of the method's weights.
        self._teachers = (dict(setup.teachers),)

    @classmethod
    def inputs(cls, config: Any) -> dict[str, Input]:
        """Return what the entries of a batch are made from; by default a picture and its text."""
        return {"image": Input("image", "image"), "text": Input("text", "text")}

    @property
    def teachers(self) -> dict[str, RunBackbone]:
        """The frozen models by the name of the input that they read."""
        return self._teachers[0]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Move the frozen models to the method's device as well."""
        for teacher in self.teachers.values():
            teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def teacher_output(self, name: str, batch: Batch) -> torch.Tensor:
        """Return the frozen model's output for one input, float32, from the cache or computed now."""
        with torch.no_grad(), torch.autocast(self.encoder.device.type, enabled=False):
            return backbone_output(self.teachers[name], batch.inputs[name]).float()

    def prepare(self, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fit what needs the whole training set, from tower features (N, D) by input; by default nothing."""

    @abstractmethod
    def encode_batch(self, batch: Batch) -> OutputsT:
        """Return what the loss needs, one row per pair, without any term across pairs."""

    @torch.no_grad()
    def update_buffers(self, outputs: OutputsT, state: TrainState) -> None:
        """Store what later steps read (code buffers); the loop calls it once per step, before `loss`."""

    @abstractmethod
    def loss(self, outputs: OutputsT, state: TrainState) -> Losses:
        """Return the loss of the global batch; it changes no state."""

    def after_step(self, outputs: OutputsT, state: TrainState) -> None:
        """Bring learnable scalars back into their bounds."""
        self.encoder.lift.clamp_()


class PairMethod(Method[Embeddings]):
    """A method that reads a picture and its text and no labels."""

    def encode_batch(self, batch: Batch) -> Embeddings:
        """Return the embeddings (B, dim) of both modalities."""
        return Embeddings(*(self.encoder.embed(name, batch.inputs[name]) for name in ("image", "text")))


class SupervisedMethod(Method[LabeledEmbeddings]):
    """A method that reads a picture, its text and its labels."""

    supervised = True

    def encode_batch(self, batch: Batch) -> LabeledEmbeddings:
        """Return the embeddings (B, dim) of both modalities and the labels (B, C)."""
        image, text = (self.encoder.embed(name, batch.inputs[name]) for name in ("image", "text"))
        return LabeledEmbeddings(image, text, batch.known_labels)
