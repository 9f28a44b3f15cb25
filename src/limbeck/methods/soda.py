"""SODA (arXiv 2510.09664): semantic-cohesive knowledge distillation for cross-modal hashing.

Stage 1, the teacher: labels become a *label prompt*, a text like any other. Pictures and label prompts are
hashed into one Hamming space, which is well mapped for pictures.
Stage 2, the student: the frozen picture codes of stage 1 guide the codes of the real texts.
Labels are never read at search time.

Only the abstract of the paper is public to us: the losses are a reconstruction in the form of DCMH.
docs/papers/soda.md keeps what is known, what we chose, and what each choice changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input, PromptConfig, TeacherSpec
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.inputs import Cached
from limbeck.encoders.lifts import Lift
from limbeck.errors import LimbeckError
from limbeck.losses import (
    bit_balance,
    code_mse,
    pairwise_likelihood,
    quantization,
    rare_pair_weights,
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
    ``rarity`` weighs similar pairs by the rarity of the labels that they share (`rare_pair_weights`).
    """

    quantization: float = Field(default=0.05, ge=0)
    balance: float = Field(default=0.05, ge=0)
    buffer: bool = False
    rarity: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _compares_batches(self) -> Self:
        if self.buffer and self.rarity:
            raise ValueError("rarity weighs the pairs of a batch; set buffer: false, or rarity: 0")
        return self


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
    label_shares: torch.Tensor

    def __init__(self, encoder: DualEncoder, config: SodaConfig, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        if config.rarity:
            assert setup.label_shares is not None
            self.register_buffer("label_shares", setup.label_shares, persistent=False)
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
        """Return the picture codes in the form in which they are kept: unchanged."""
        return image

    def pair_weights(self, labels: torch.Tensor) -> torch.Tensor | None:
        """Return the weights (B, B) of the pairs of a batch; None where all weigh alike."""
        if not self.config.rarity:
            return None
        return rare_pair_weights(labels, labels, self.label_shares, self.config.rarity)

    def likelihood(
        self, outputs: BufferedEmbeddings, similar: torch.Tensor, state: TrainState
    ) -> torch.Tensor:
        """Return the pairwise likelihood of S (``similar``), within the batch or against the buffer.

        With the buffer it is the mean of U against the last Z of all training pairs, and of Z against their
        last U.
        """
        u, z = outputs.image, outputs.text
        if outputs.rows is None:
            weights = self.pair_weights(outputs.labels)
            return pairwise_likelihood(theta(self.encoder.lift, u, z), similar, weights)
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


@dataclass
class TaughtEmbeddings(BufferedEmbeddings):
    """Codes and labels, and the teacher's codes (B, bits) of the same pairs; None without a teacher."""

    teacher_image: torch.Tensor | None = None
    teacher_text: torch.Tensor | None = None


class SodaStudent(PairHashing):
    """Stage 2: the text codes W learn from the picture Hamming space of stage 1.

    With B_v = sign(U) of the (frozen) picture tower and Phi = theta / sqrt(bits) · W B_v':

        L = mean_ij [ log(1 + e^Phi_ij) - S_ij Phi_ij ]
          + quantization |B_v - W|^2 + agreement |W - stopgrad(U)|^2 + balance |mean W|^2

    ``target: relaxed`` puts U in place of B_v in the likelihood, so that a picture tower that is not frozen
    is gently tuned along with the text; quantization and balance of U are then added (ours). With ``buffer``
    W meets the pictures of the whole training set; the gradient of U stays with the pairs of the batch.

    With ``soft`` the target mixes S with the frozen teacher's probabilities (ours). U° are its codes of the
    pictures, Z° its codes of their label prompts, and

        T_ij = (1 - soft) S_ij + soft sigmoid(theta° / sqrt(bits) · U°_i Z°_j)

    With ``prompts`` the pictures stay near their label prompts (ours). The likelihood is a weighted mean:
    that of W and U has weight 1, that of U and Z° has weight ``prompts``.
    """

    class Config(SodaConfig):
        """The loss weights of both stages, the weight of agreement, and the variant (ours).

        ``teacher`` names the stage (or run) of `soda-teacher` whose codes ``soft`` and ``prompts`` need;
        ``prompt`` is the label prompt of that stage.
        """

        target: Literal["codes", "relaxed"] = "codes"
        agreement: float = Field(default=0.05, ge=0)
        soft: float = Field(default=0.0, ge=0, le=1)
        prompts: float = Field(default=0.0, ge=0)
        teacher: str | None = None
        prompt: PromptConfig = PromptConfig()

        @model_validator(mode="after")
        def _asks_a_teacher(self) -> Self:
            if bool(self.soft or self.prompts) != (self.teacher is not None):
                raise ValueError(
                    "soft and prompts need a teacher: name its stage or run; without both, leave teacher out"
                )
            if self.teacher is not None and self.buffer:
                raise ValueError("teacher needs buffer: false, since it answers only for the batch")
            if self.prompts and self.target == "codes":
                raise ValueError(
                    "prompts moves the pictures, but target: codes fixes them; set target: relaxed"
                )
            return self

    config: Config

    @classmethod
    def inputs(cls, config: Any) -> dict[str, Input]:
        """Return a picture and its text, and what the teacher reads: the picture and its label prompt."""
        if config.teacher is None:
            return super().inputs(config)
        reader = TeacherSpec(config.teacher, "embeddings")
        return super().inputs(config) | {
            "teacher_image": Input("image", "image", teacher=reader),
            "teacher_text": Input("label_prompt", "text", config.prompt, teacher=reader),
        }

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        if config.teacher is not None and self.teachers["teacher_image"].lift.space.storage != "codes":
            raise LimbeckError(
                f"teacher: {config.teacher!r} has no hash codes; give a stage or run of soda-teacher",
                code="E-SPACE-OTHER",
            )

    def encode_batch(self, batch: Batch) -> TaughtEmbeddings:
        """Return the relaxed codes of both modalities, and the teacher's."""
        outputs = TaughtEmbeddings(**vars(super().encode_batch(batch)))
        if self.config.teacher is not None:
            outputs.teacher_image = self.teacher_output("teacher_image", batch)
            outputs.teacher_text = self.teacher_output("teacher_text", batch)
        return outputs

    def taught(self, outputs: BufferedEmbeddings, phi: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
        """Return the scalar likelihood of phi (B, B); a teacher changes its target and adds the prompts."""
        config, weights = self.config, self.pair_weights(outputs.labels)
        if config.teacher is None:
            return pairwise_likelihood(phi, similar, weights)
        assert isinstance(outputs, TaughtEmbeddings)
        assert outputs.teacher_image is not None and outputs.teacher_text is not None
        belief = torch.sigmoid(
            theta(self.teachers["teacher_image"].lift, outputs.teacher_image, outputs.teacher_text)
        )
        target = similar + config.soft * (belief - similar)
        own = pairwise_likelihood(phi, target, weights)
        if not config.prompts:
            return own
        bits = outputs.image.shape[1]
        to_prompts = theta(self.encoder.lift, outputs.image, outputs.teacher_text[:, :bits])
        others = pairwise_likelihood(to_prompts, target, weights)
        return (own + config.prompts * others) / (1 + config.prompts)

    def stored(self, image: torch.Tensor) -> torch.Tensor:
        """Return the picture codes in the form that guides the texts: relaxed, or their signs."""
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
            likelihood=(1.0, self.taught(outputs, phi, similar)),
            quantization=(config.quantization, spread),
            agreement=(config.agreement, code_mse(w, u.detach())),
            balance=(config.balance, balance),
        )
