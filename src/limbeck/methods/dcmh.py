"""DCMH (Jiang & Li, Deep Cross-Modal Hashing, CVPR 2017): pairwise likelihood against the whole training set.

With F, G (n, b) the relaxed codes of all pictures and texts, B = sign(F + G), Theta = F G' / 2:

    J = sum_ij [ log(1 + e^Theta_ij) - S_ij Theta_ij ] + gamma (|B - F|^2 + |B - G|^2)
        + eta (|F' 1|^2 + |G' 1|^2)                                                                   (eq. 1)

A step sees a batch: its rows of F against all of G, its rows of G against all of F (sec. 3.2). J is divided
by n and by the rows of the batch; gamma and eta keep the paper's meaning and value. F' 1 is n times the mean
of the batch: the sum over last codes lags by an epoch, and with Adam every bit ran to one side (ours).

The first two epochs compare with the batch alone (`code_buffer`). Left out: networks of its own (CNN-F, bag
of words; towers are the recipe's), alternation between the two networks and B (one step moves both, B follows
at each), its learning rates.
"""

from __future__ import annotations

from pydantic import Field

from limbeck.encoders.config import Strict
from limbeck.losses import bit_balance, pairwise_likelihood, shared_label
from limbeck.methods.base import Batch, Losses, Method, Reps, State, code_monitors, sign
from limbeck.methods.code_buffer import CodeBuffer


class Dcmh(Method):
    """DCMH (CVPR 2017): pairwise likelihood against the codes of the whole training set."""

    supervised = True

    class Config(Strict):
        """gamma and eta (the paper: 1) and the factor of Theta (the paper: 1/2 at every length)."""

        quantization: float = Field(default=1.0, ge=0)
        balance: float = Field(default=1.0, ge=0)
        theta: float = Field(default=0.5, gt=0)

    def enrol(self, rows: int, classes: int) -> None:
        """F and G."""
        self.buffer = CodeBuffer(rows, self.encoder.lift.dim, classes)

    def represent(self, batch: Batch) -> Reps:
        """Codes, labels and rows."""
        return super().represent(batch) | {"rows": batch["rows"]}

    def objective(self, reps: Reps, state: State) -> Losses:
        """The loss above."""
        f, g, rows = reps["image"], reps["text"], reps["rows"]
        self.buffer.write(rows, reps["labels"], image=f, text=g)
        n, codes = len(self.buffer.labels), sign(f + g)
        similar = shared_label(reps["labels"], self.buffer.known(reps["labels"], state))
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
