"""The contract between a method and the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from limbeck.data.inputs import Input
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.towers import CACHED, RunBackbone, backbone_output

Batch = dict[str, Any]
Reps = dict[str, torch.Tensor]


@dataclass(frozen=True)
class State:
    """Where training stands."""

    step: int
    total_steps: int
    epoch: int
    seed: int

    def generator(self) -> torch.Generator:
        """Random numbers of this step (on the CPU): the same on every process and after a resume."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + self.step) % 2**63)


@dataclass
class Losses:
    """What an objective returns: the scalar to descend, its weighted parts, and numbers to watch."""

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
        """Sum of weight x part; parts of weight 0 are left out of the sum but still reported."""
        total = sum((weight * value for weight, value in parts.values() if weight), torch.zeros(()))
        return cls(
            torch.as_tensor(total),
            {name: value.detach() for name, (_, value) in parts.items()},
            monitors or {},
        )


class Method(nn.Module, ABC):
    """One paper: what it reads, what it represents, what it descends.

    The loop calls `represent` on (chunks of) a batch, gathers the rows of all processes, and calls
    `objective` once on the global batch. A method never sees the process group, the optimizer or the files.
    """

    Config: ClassVar[type[Strict]]
    supervised: ClassVar[bool] = False

    def __init__(self, encoder: DualEncoder, config: Strict) -> None:
        super().__init__()
        self.encoder = encoder
        self.config: Any = config
        self._readers: tuple[dict[str, RunBackbone]] = ({},)

    @classmethod
    def inputs(cls, config: Any) -> dict[str, Input]:
        """What each entry of a batch is made from: a picture and its text unless a method says otherwise."""
        return {"image": Input("image", "image"), "text": Input("text", "text")}

    def prepare(self, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fit what needs the whole training set, from tower features (N, D) by input; nothing by default."""

    def meet(self, readers: dict[str, RunBackbone]) -> None:
        """Take the frozen models that read some inputs (see `Input.reader`), by input; called once, built."""
        self._readers = (readers,)  # in a tuple: a frozen teacher is no part of the method's weights

    def enrol(self, rows: int, classes: int) -> None:
        """Build what the training set's size decides: class proxies, code buffers; called once, built.

        Args:
            rows: of the training set; a batch's ``rows`` are positions in it.
            classes: width of ``labels``, 0 without labels.
        """

    @property
    def readers(self) -> dict[str, RunBackbone]:
        """The frozen models by input."""
        return self._readers[0]

    def _apply(self, *given: Any, **named: Any) -> Any:
        """Where the method goes (device), the frozen models go."""
        for reader in self.readers.values():
            reader._apply(*given, **named)
        return super()._apply(*given, **named)

    def read(self, name: str, batch: Batch) -> torch.Tensor:
        """What the frozen model of an input says, float32, from its cache or computed now."""
        inputs = batch[name]
        if CACHED in inputs:
            return torch.as_tensor(inputs[CACHED])
        with torch.no_grad(), torch.autocast(self.encoder.device.type, enabled=False):
            found = backbone_output(self.readers[name], inputs).float()
        return found

    #: True when `prepare` needs the features of the training set.
    needs_features: ClassVar[bool] = False

    def represent(self, batch: Batch) -> Reps:
        """All that the objective needs, one row a pair, float32; no term across samples.

        Unless a method says otherwise: embeddings (B, d) of ``image`` and ``text``; if it is supervised also
        ``labels`` (B, C).
        """
        reps = {name: self.encoder.embed(name, batch[name]) for name in ("image", "text")}
        return reps | ({"labels": batch["labels"]} if self.supervised else {})

    @abstractmethod
    def objective(self, reps: Reps, state: State) -> Losses:
        """Loss of the global batch."""

    def after_step(self, reps: Reps, state: State) -> None:
        """Bring scalars back into their bounds."""
        self.encoder.lift.clamp_()


def code_monitors(**relaxed: torch.Tensor) -> dict[str, torch.Tensor]:
    """Bit balance (mean |mean bit|, 0 is even) and quantization error (mean square) of codes (B, b)."""
    found = {}
    for name, u in relaxed.items():
        signs = torch.where(u.detach() >= 0, 1.0, -1.0)
        found[f"bit_balance/{name}"] = signs.mean(0).abs().mean()
        found[f"quantization_error/{name}"] = (signs - u.detach()).square().mean()
    return found


def batch_accuracy(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Share of the pictures (B, B rows) whose own text scores best."""
    own = torch.arange(len(logits), device=logits.device)
    return {"batch_accuracy": (logits.detach().argmax(1) == own).float().mean()}


def cone_share(excess: torch.Tensor) -> dict[str, torch.Tensor]:
    """Share of matched pairs (B,) whose picture lies in the cone of its text."""
    return {"cone_share": (excess.detach() <= 0).float().mean()}


def sign(x: torch.Tensor) -> torch.Tensor:
    """-1 or +1, with sign(0) = +1, without gradient."""
    return torch.where(x.detach() >= 0, 1.0, -1.0)
