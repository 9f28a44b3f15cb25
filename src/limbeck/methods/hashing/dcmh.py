"""DCMH (Jiang & Li, Deep Cross-Modal Hashing, CVPR 2017): pairwise likelihood against the whole training set.

With F, G (n, b) the relaxed codes of all pictures and texts, B = sign(F + G), Theta = F G' / 2:

    J = sum_ij [ log(1 + e^Theta_ij) - S_ij Theta_ij ] + gamma (|B - F|^2 + |B - G|^2)
        + eta (|F' 1|^2 + |G' 1|^2)                                                                   (eq. 1)

A step sees a batch: its rows of F against all of G, its rows of G against all of F (sec. 3.2). J is divided
by n and by the rows of the batch; gamma and eta keep the paper's meaning and value. F' 1 is n times the mean
of the batch: the sum over last codes lags by an epoch, and with Adam every bit ran to one side (ours).

The first two epochs compare with the batch alone (`code_buffer`). This omits networks of its own (CNN-F, bag
of words; towers are the recipe's), alternation between the two networks and B (one step moves both, B follows
at each), its learning rates.
"""

from __future__ import annotations

import torch
from pydantic import Field

from limbeck.data.batches import Batch
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.losses import bit_balance, pairwise_likelihood, shared_label
from limbeck.methods.base import Losses, Method, Setup, TrainState
from limbeck.methods.hashing.code_buffer import BufferedEmbeddings, CodeBuffer
from limbeck.methods.monitors import code_monitors, sign


class Dcmh(Method[BufferedEmbeddings]):
    """DCMH (CVPR 2017): pairwise likelihood against the codes of the whole training set."""

    supervised = True

    class Config(Strict):
        """gamma and eta (the paper: 1) and the factor of Theta (the paper: 1/2 at every length)."""

        quantization: float = Field(default=1.0, ge=0)
        balance: float = Field(default=1.0, ge=0)
        theta: float = Field(default=0.5, gt=0)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        self.buffer = CodeBuffer(setup.rows, encoder.lift.dim, setup.classes)  # F and G

    def encode_batch(self, batch: Batch) -> BufferedEmbeddings:
        """Return codes, labels and rows."""
        image, text = (self.encoder.embed(name, batch.inputs[name]) for name in ("image", "text"))
        return BufferedEmbeddings(image, text, batch.known_labels, batch.rows)

    @torch.no_grad()
    def update_buffers(self, outputs: BufferedEmbeddings, state: TrainState) -> None:
        """Write the batch's rows of F and G."""
        assert outputs.rows is not None
        self.buffer.write(outputs.rows, outputs.labels, image=outputs.image, text=outputs.text)

    def loss(self, outputs: BufferedEmbeddings, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        f, g = outputs.image, outputs.text
        n, codes = len(self.buffer.labels), sign(f + g)
        similar = shared_label(outputs.labels, self.buffer.known_labels(outputs.labels, state))
        kept = {"image": self.buffer.codes("image", f, state), "text": self.buffer.codes("text", g, state)}
        theta = self.config.theta
        spread = ((codes - f).square().sum(1) + (codes - g).square().sum(1)).mean() / n
        balance = f.shape[1] * (bit_balance(f) + bit_balance(g))
        return Losses.weighted(
            monitors=code_monitors(image=f, text=g),
            image_likelihood=(1.0, pairwise_likelihood(theta * f @ kept["text"].T, similar)),
            text_likelihood=(1.0, pairwise_likelihood(theta * g @ kept["image"].T, similar)),
            quantization=(self.config.quantization, spread),
            balance=(self.config.balance, balance),
        )
