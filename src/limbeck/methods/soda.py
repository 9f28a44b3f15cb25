"""SODA (arXiv 2510.09664): semantic-cohesive knowledge distillation for cross-modal hashing.

Stage 1, the teacher: labels become a *label prompt*, a text like any other. Image and label prompt are
hashed into one Hamming space, well mapped for images.
Stage 2, the student: the frozen image codes of stage 1 guide the codes of the real text.
Labels are never read at search time.

Only the abstract of the paper is public to us: the losses are a reconstruction in the DCMH form. What is
known, what we chose and what it changed is kept in docs/papers/soda.md.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from limbeck.data.inputs import Input, PromptConfig
from limbeck.encoders.backbone import Inputs
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.towers import CACHED
from limbeck.losses import agreement, bit_balance, pairwise_likelihood, quantization, shared_label
from limbeck.methods.base import Batch, Losses, Reps, State, code_monitors, sign
from limbeck.methods.code_buffer import WARMUP_EPOCHS, CodeBuffer
from limbeck.methods.nested import Nested, NestedConfig


class _Buffered(Nested):
    """``buffer: true`` puts the codes of the whole training set in place of the batch's in the likelihood.

    The first epochs compare with the batch, see `code_buffer`.
    """

    def enrol(self, rows: int, classes: int) -> None:
        """The buffer, if there is one."""
        if self.config.buffer:
            self.buffer = CodeBuffer(rows, self.encoder.lift.dim, classes)

    def represent(self, batch: Batch) -> Reps:
        """Codes, labels, and rows for the buffer."""
        return super().represent(batch) | ({"rows": batch["rows"]} if self.config.buffer else {})


class SodaTeacher(_Buffered):
    """Stage 1: image x label prompt, pairwise likelihood + quantization + bit balance.

    U = tanh codes of the images, Z = of the label prompts, B = sign(U + Z), S_ij = 1 if i, j share a label:

        L = mean_ij [ log(1 + e^theta_ij) - S_ij theta_ij ]                  theta = logits(U, Z)
          + quantization (|B - U|^2 + |B - Z|^2) + balance (|mean U|^2 + |mean Z|^2)

    With ``buffer`` the likelihood is the mean of U against the last Z of all training rows and of Z against
    their last U, as in DCMH. With ``prefixes`` L is averaged over the first bits too (`Nested`).
    """

    supervised = True

    class Config(NestedConfig):
        """Weights (ours) and the prompt that turns labels into text."""

        prompt: PromptConfig = PromptConfig()
        quantization: float = Field(default=0.05, ge=0)
        balance: float = Field(default=0.05, ge=0)
        buffer: bool = False

    @classmethod
    def inputs(cls, config: Config) -> dict[str, Input]:
        """A picture and its label prompt (or list of labels), which goes through the text tower."""
        return {"image": Input("image", "image"), "text": Input(config.prompt.column, "text", config.prompt)}

    def __init__(self, encoder: DualEncoder, config: Config) -> None:
        super().__init__(encoder, config)
        self.context: nn.Parameter | None = (
            None  # ours: CoOp's learned context, where the tower has no tokens
        )
        if config.prompt.context:
            self.context = nn.Parameter(torch.zeros(encoder.towers["text"].backbone.dim))

    def represent(self, batch: Batch) -> Reps:
        """Codes and labels; with ``prompt.context`` the learned vector is added to what the prompts say."""
        if self.context is None:
            return super().represent(batch)
        return super().represent(batch | {"text": {CACHED: self._said(batch["text"]) + self.context}})

    def _said(self, inputs: Inputs) -> torch.Tensor:
        return self.encoder.towers["text"].backbone_output(inputs)

    def similar(self, reps: Reps) -> torch.Tensor:
        """S (B, B) of the batch, picture by text."""
        return shared_label(reps["labels"], reps["labels"])

    def objective_of(self, reps: Reps, state: State) -> Losses:
        """The loss above."""
        u, z = reps["image"], reps["text"]
        codes, logits = sign(u + z), self.encoder.lift.logits
        if self.config.buffer:
            self.buffer.write(reps["rows"], reps["labels"], image=u, text=z)
            similar = shared_label(reps["labels"], self.buffer.known(reps["labels"], state))
            kept = self.buffer.codes
            sides = ((u, kept("text", z, state)), (z, kept("image", u, state)))
            likelihood = sum(pairwise_likelihood(logits(a, b), similar) for a, b in sides) / 2
        else:
            likelihood = pairwise_likelihood(logits(u, z), self.similar(reps))
        return Losses.weighted(
            monitors=code_monitors(image=u, text=z),
            likelihood=(1.0, torch.as_tensor(likelihood)),
            quantization=(self.config.quantization, quantization(u, codes) + quantization(z, codes)),
            balance=(self.config.balance, bit_balance(u) + bit_balance(z)),
        )


class SodaStudent(_Buffered):
    """Stage 2: text codes W learn from the image Hamming space of stage 1.

    With B_v = sign(U) of the (frozen) image branch:

        L = mean_ij [ log(1 + e^phi_ij) - S_ij phi_ij ]                      phi = logits(W, B_v)
          + quantization |B_v - W|^2 + agreement |W - stopgrad(U)|^2 + balance |mean W|^2

    ``target: relaxed`` puts U in place of B_v in the likelihood, so that an unfrozen image branch is gently
    tuned along with the text; quantization and balance of U are then added (ours). With ``buffer`` W meets
    the pictures of the whole training set; the gradient of U then stays with the pairs of the batch.
    """

    supervised = True

    class Config(NestedConfig):
        """Weights and variant (ours)."""

        target: str = Field(default="codes", pattern="^(codes|relaxed)$")
        quantization: float = Field(default=0.05, ge=0)
        agreement: float = Field(default=0.05, ge=0)
        balance: float = Field(default=0.05, ge=0)
        buffer: bool = False

    def objective_of(self, reps: Reps, state: State) -> Losses:
        """The loss above."""
        u, w = reps["image"], reps["text"]
        codes = sign(u)
        relaxed = self.config.target == "relaxed"
        targets, labels = u if relaxed else codes, reps["labels"]
        if self.config.buffer:
            self.buffer.write(reps["rows"], labels, image=targets, text=w)
            if state.epoch >= WARMUP_EPOCHS:
                targets = self.buffer.with_batch("image", reps["rows"], targets)
                labels = self.buffer.labels
        phi = self.encoder.lift.logits(w, targets)
        similar = shared_label(reps["labels"], labels)
        spread = quantization(w, codes) + (quantization(u, codes) if relaxed else 0.0)
        balance = bit_balance(w) + (bit_balance(u) if relaxed else 0.0)
        return Losses.weighted(
            monitors=code_monitors(image=u, text=w),
            likelihood=(1.0, pairwise_likelihood(phi, similar)),
            quantization=(self.config.quantization, spread),
            agreement=(self.config.agreement, agreement(w, u.detach())),
            balance=(self.config.balance, balance),
        )
