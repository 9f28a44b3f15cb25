"""Losses: tensors in, scalar out. They know no encoder, no method and no process group."""

from limbeck.losses.contrastive import info_nce
from limbeck.losses.distillation import interaction
from limbeck.losses.entailment import entailment, ramp
from limbeck.losses.hashing import agreement, bit_balance, pairwise_likelihood, quantization, shared_label
from limbeck.losses.masked import at_patches, resample_grid

__all__ = [
    "agreement",
    "at_patches",
    "bit_balance",
    "entailment",
    "info_nce",
    "interaction",
    "pairwise_likelihood",
    "quantization",
    "ramp",
    "resample_grid",
    "shared_label",
]
