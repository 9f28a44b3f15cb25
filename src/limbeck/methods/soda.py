"""SODA (arXiv 2510.09664): semantic-cohesive knowledge distillation for cross-modal hashing.

Stage 1, the teacher: labels become a *label prompt*, a text like any other. Pictures and label prompts are
hashed into one Hamming space, which is well mapped for pictures.
Stage 2, the student: the frozen picture codes of stage 1 guide the codes of the real texts.
Labels are never read at search time.

Only the abstract of the paper is public to us: the losses are a reconstruction in the form of DCMH.
docs/papers/soda.md keeps what is known, what we chose, and what each choice changed.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input, PromptConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.inputs import Cached
from limbeck.encoders.lifts import Lift
from limbeck.losses import (
    bit_balance,
    code_mse,
    pairwise_likelihood,
    quantization,
    scaled_logits,
    shared_label,
)
from limbeck.methods.base import Losses, Setup, TrainState
from limbeck.methods.hashing.code_buffer import WARMUP_EPOCHS, BufferedEmbeddings, CodeBuffer
from limbeck.methods.hashing.nested import NestedConfig, NestedMethod
from limbeck.methods.monitors import code_monitors, sign


class SodaConfig(NestedConfig):
    """Weights that both stages share (ours), and whether codes of the whole training set are kept.

    With ``buffer`` the likelihood compares with all training pairs, as DCMH does, not with the batch alone.
    """

    quantization: float = Field(default=0.05, ge=0)
    balance: float = Field(default=0.05, ge=0)
    buffer: bool = False


def theta(lift: Lift, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return Theta_ij = theta / sqrt(bits) · u_i · v_j (A, B), at the length that the codes have.

    The factor gives Theta the same spread at every length (ours; DCMH and MITH take 1/2 instead). A space of
    floats, which stands in where codes are compared with floats, has no theta: its own logits are taken.
    """
    if lift.space.storage == "codes":
        return scaled_logits(u, v, lift.config.theta)
    return lift.logits(u, v)


class PairHashing(NestedMethod[BufferedEmbeddings]):
    """What the stages share: codes of pictures and texts, Theta, and the optional code buffer."""

    supervised = True
    config: SodaConfig

    def __init__(self, encoder: DualEncoder, config: SodaConfig, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        if config.buffer:
            self.buffer = CodeBuffer(setup.rows, encoder.lift.dim, setup.classes)

    def encode_batch(self, batch: Batch) -> BufferedEmbeddings:
        """Return the relaxed codes (B, bits) of both modalities, the labels, and rows for the buffer."""
        image, text = (self.encoder.embed(name, batch.inputs[name]) for name in ("image", "text"))
        rows = batch.rows if self.config.buffer else None
        return BufferedEmbeddings(image, text, batch.known_labels, rows)

    @torch.no_grad()
    def update_buffers(self, outputs: BufferedEmbeddings, state: TrainState) -> None:
        """Store the batch's codes where a buffer is kept."""
        if outputs.rows is not None:
            self.buffer.write(
                outputs.rows, outputs.labels, image=self.stored(outputs.image), text=outputs.text
            )

    def stored(self, image: torch.Tensor) -> torch.Tensor:
        """Return the form in which picture codes are kept: as they are."""
        return image

    def likelihood(
        self, outputs: BufferedEmbeddings, similar: torch.Tensor, state: TrainState
    ) -> torch.Tensor:
        """Return the pairwise likelihood of S (``similar``), within the batch or against the buffer.

        With the buffer it is the mean of U against the last Z of all training pairs, and of Z against their
        last U.
        """
        u, z = outputs.image, outputs.text
        if outputs.rows is None:
            return pairwise_likelihood(theta(self.encoder.lift, u, z), similar)
        similar = shared_label(outputs.labels, self.buffer.known_labels(outputs.labels, state))
        kept_z, kept_u = self.buffer.codes("text", z, state), self.buffer.codes("image", u, state)
        both = (
            pairwise_likelihood(theta(self.encoder.lift, u, kept_z), similar)
            + pairwise_likelihood(theta(self.encoder.lift, z, kept_u), similar)
        )  # fmt: skip
        return both / 2


def stage_one_loss(outputs: BufferedEmbeddings, likelihood: torch.Tensor, config: SodaConfig) -> Losses:
    """Return the loss of stage 1 from its likelihood term.

    U are the tanh codes of the pictures, Z those of the label prompts, B = sign(U + Z):

        L = likelihood + quantization (|B - U|^2 + |B - Z|^2) + balance (|mean U|^2 + |mean Z|^2)
    """
    u, z = outputs.image, outputs.text
    codes = sign(u + z)
    return Losses.weighted(
        monitors=code_monitors(image=u, text=z),
        likelihood=(1.0, likelihood),
        quantization=(config.quantization, quantization(u, codes) + quantization(z, codes)),
        balance=(config.balance, bit_balance(u) + bit_balance(z)),
    )


class SodaTeacher(PairHashing):
    """Stage 1: picture x label prompt; pairwise likelihood + quantization + bit balance.

    With S_ij = 1 if i and j share a label and Theta = theta / sqrt(bits) · U Z':

        likelihood = mean_ij [ log(1 + e^Theta_ij) - S_ij Theta_ij ]             (rest: `stage_one_loss`)

    With ``prefixes`` the loss is averaged over the first bits too (`NestedMethod`).
    """

    class Config(SodaConfig):
        """The loss weights of both stages, and the prompt that turns labels into text."""

        prompt: PromptConfig = PromptConfig()

    config: Config

    @classmethod
    def inputs(cls, config: Any) -> dict[str, Input]:
        """Return a picture and its label prompt (or label list), which goes through the text tower."""
        return {"image": Input("image", "image"), "text": Input(config.prompt.column, "text", config.prompt)}

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        # Ours: CoOp's learned context, added to features because the text tower need not have tokens.
        self.context: nn.Parameter | None = None
        if config.prompt.context:
            self.context = nn.Parameter(torch.zeros(encoder.towers["text"].backbone.dim))

    def encode_batch(self, batch: Batch) -> BufferedEmbeddings:
        """Return codes and labels; ``prompt.context`` adds its learned vector to the prompts' features."""
        if self.context is not None:
            features = self.encoder.towers["text"].backbone_output(batch.inputs["text"])
            batch = batch.with_input("text", Cached(features + self.context))
        return super().encode_batch(batch)

    def similar(self, outputs: BufferedEmbeddings) -> torch.Tensor:
        """Return S (B, B) of the batch, picture by prompt."""
        return shared_label(outputs.labels, outputs.labels)

    def code_loss(self, outputs: BufferedEmbeddings, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        likelihood = self.likelihood(outputs, self.similar(outputs), state)
        return stage_one_loss(outputs, likelihood, self.config)


class SodaStudent(PairHashing):
    """Stage 2: the text codes W learn from the picture Hamming space of stage 1.

    With B_v = sign(U) of the (frozen) picture tower and Phi = theta / sqrt(bits) · W B_v':

        L = mean_ij [ log(1 + e^Phi_ij) - S_ij Phi_ij ]
          + quantization |B_v - W|^2 + agreement |W - stopgrad(U)|^2 + balance |mean W|^2

    ``target: relaxed`` puts U in place of B_v in the likelihood, so that a picture tower that is not frozen
    is gently tuned along with the text; quantization and balance of U are then added (ours). With ``buffer``
    W meets the pictures of the whole training set; the gradient of U stays with the pairs of the batch.
    """

    class Config(SodaConfig):
        """The loss weights of both stages, the weight of agreement, and the variant (ours)."""

        target: Literal["codes", "relaxed"] = "codes"
        agreement: float = Field(default=0.05, ge=0)

    config: Config

    def stored(self, image: torch.Tensor) -> torch.Tensor:
        """Return the form in which picture codes guide: relaxed, or their signs."""
        return image if self.config.target == "relaxed" else sign(image)

    def code_loss(self, outputs: BufferedEmbeddings, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        config, u, w = self.config, outputs.image, outputs.text
        relaxed = config.target == "relaxed"
        codes, targets, labels = sign(u), self.stored(u), outputs.labels
        if outputs.rows is not None and state.epoch >= WARMUP_EPOCHS:
            targets, labels = self.buffer.with_batch("image", outputs.rows, targets), self.buffer.labels
        phi, similar = theta(self.encoder.lift, w, targets), shared_label(outputs.labels, labels)
        spread = quantization(w, codes) + (quantization(u, codes) if relaxed else 0.0)
        balance = bit_balance(w) + (bit_balance(u) if relaxed else 0.0)
        return Losses.weighted(
            monitors=code_monitors(image=u, text=w),
            likelihood=(1.0, pairwise_likelihood(phi, similar)),
            quantization=(config.quantization, spread),
            agreement=(config.agreement, code_mse(w, u.detach())),
            balance=(config.balance, balance),
        )
