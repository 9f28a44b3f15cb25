"""MITH (Liu et al., Multi-granularity Interactive Transformer Hashing, ACM MM 2023), its global branch.

With F, G (n, b) the codes of the whole training set, B = sign(U + V) and f, g the unit features before the
hash layer:

    L = inter [ NLL(U, G) + NLL(V, F) ] + quantization [ mean |U - B|^2 + mean |V - B|^2 ]
        + contrast InfoNCE(f, g; 0.07),        NLL over Theta = clamp(u v', -64, 64) / 2

Weights 10, 8 and 50 are those of the public code. The first two epochs compare with the batch alone
(`code_buffer`).

Left out: the branch of localised tokens (cached features have none) and with it the likelihood within a
modality, the contrast of concepts and the distillation from global to token codes; the residual layers and
the hash layer that both modalities share.
"""

from __future__ import annotations

from pydantic import Field
from torch.nn import functional as F

from limbeck.encoders.config import Strict
from limbeck.errors import LimbeckError
from limbeck.losses import info_nce, pairwise_likelihood, quantization, shared_label
from limbeck.methods.base import Batch, Losses, Method, Reps, State, code_monitors, sign
from limbeck.methods.code_buffer import CodeBuffer


class Mith(Method):
    """MITH (MM 2023), its global branch: likelihood against the whole set, contrast of features."""

    supervised = True

    class Config(Strict):
        """Weights and temperature of the public code."""

        inter: float = Field(default=10.0, ge=0)
        quantization: float = Field(default=8.0, ge=0)
        contrast: float = Field(default=50.0, ge=0)
        temperature: float = Field(default=0.07, gt=0)

    def enrol(self, rows: int, classes: int) -> None:
        """F and G."""
        widths = {m: tower.dim for m, tower in self.encoder.towers.items()}
        if widths["image"] != widths["text"]:
            raise LimbeckError(
                f"towers: method 'mith' contrasts features of one width, not {widths['image']} and "
                f"{widths['text']}; end towers.image.hidden and towers.text.hidden alike"
            )
        self.buffer = CodeBuffer(rows, self.encoder.lift.dim, classes)

    def represent(self, batch: Batch) -> Reps:
        """Codes, unit features before the hash layer, labels and rows."""
        features = {m: self.encoder.towers[m](batch[m]) for m in ("image", "text")}
        codes = {m: self.encoder.lift(x, m) for m, x in features.items()}
        units = {f"{m}_features": F.normalize(x.float(), dim=1) for m, x in features.items()}
        return codes | units | {"labels": batch["labels"], "rows": batch["rows"]}

    def objective(self, reps: Reps, state: State) -> Losses:
        """The loss above."""
        u, v = reps["image"], reps["text"]
        self.buffer.write(reps["rows"], reps["labels"], image=u, text=v)
        similar = shared_label(reps["labels"], self.buffer.known(reps["labels"], state))
        codes = sign(u + v)
        inter = sum(
            pairwise_likelihood((a @ self.buffer.codes(side, b, state).T).clamp(-64, 64) / 2, similar)
            for a, side, b in ((u, "text", v), (v, "image", u))
        )
        contrast = info_nce(reps["image_features"] @ reps["text_features"].T / self.config.temperature)
        return Losses.weighted(
            monitors=code_monitors(image=u, text=v),
            inter=(self.config.inter, u.new_zeros(()) + inter),
            quantization=(self.config.quantization, quantization(u, codes) + quantization(v, codes)),
            contrast=(self.config.contrast, contrast),
        )
