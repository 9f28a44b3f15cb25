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
from limbeck.losses.masked import at_patches, pixel_error, resample_grid
from limbeck.losses.pairs import (
    bernoulli_gap,
    cosine,
    cross_ranking,
    distance_margin,
    label_contrast,
    memory_contrast,
    similarity_gap,
    softness,
)
from limbeck.losses.proxies import (
    ancestor_triplets,
    griesmer_threshold,
    irrelevant_margin,
    proxy_margin,
    reciprocal_triplets,
)

__all__ = [
    "agreement",
    "ancestor_triplets",
    "at_patches",
    "bernoulli_gap",
    "bit_balance",
    "cosine",
    "cross_ranking",
    "cross_relation",
    "distance_margin",
    "entailment",
    "feature_match",
    "griesmer_threshold",
    "info_nce",
    "interaction",
    "irrelevant_margin",
    "label_contrast",
    "memory_contrast",
    "pairwise_likelihood",
    "pixel_error",
    "proxy_margin",
    "quantization",
    "radius_gap",
    "ramp",
    "reciprocal_triplets",
    "relation",
    "resample_grid",
    "shared_label",
    "similarity_gap",
    "softness",
    "squared_gap",
]
