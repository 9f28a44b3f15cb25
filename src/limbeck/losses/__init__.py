"""Losses: tensors in, scalar out. They know no encoder, no method and no process group."""

from limbeck.losses.contrastive import info_nce
from limbeck.losses.distillation import (
    cross_relation,
    feature_match,
    interaction,
    radius_gap,
    relation,
    squared_gap,
)
from limbeck.losses.entailment import entailment, ramp
from limbeck.losses.hashing import agreement, bit_balance, pairwise_likelihood, quantization, shared_label
from limbeck.losses.masked import at_patches, resample_grid

__all__ = [
    "agreement",
    "at_patches",
    "bit_balance",
    "cross_relation",
    "entailment",
    "feature_match",
    "info_nce",
    "interaction",
    "pairwise_likelihood",
    "quantization",
    "radius_gap",
    "ramp",
    "relation",
    "resample_grid",
    "shared_label",
    "squared_gap",
]
