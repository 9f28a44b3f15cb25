"""Losses: tensors in, scalar out. They know no encoder, no method and no process group."""

from limbeck.losses.contrastive import info_nce, row_nce
from limbeck.losses.distillation import (
    cross_relational_kd,
    feature_distance,
    interactive_kd,
    radius_mse,
    relational_kd,
    squared_distance,
)
from limbeck.losses.entailment import (
    adaptive_entailment,
    calibration,
    entailment,
    linear_warmup,
    radius_floor,
    softened_entailment,
    uncertainty,
)
from limbeck.losses.hashing import (
    bit_balance,
    code_mse,
    pairwise_likelihood,
    quantization,
    scaled_logits,
    shared_label,
)
from limbeck.losses.masked import at_patches, pixel_error, resample_grid
from limbeck.losses.pairs import (
    cosine,
    cross_ranking,
    distance_margin,
    label_contrast,
    memory_contrast,
    similarity_mse,
    softness,
    symmetric_bernoulli_kl,
)
from limbeck.losses.proxies import (
    ancestor_hierarchy,
    ancestor_triplets,
    griesmer_threshold,
    irrelevant_margin,
    proxy_margin,
    reciprocal_triplets,
)

__all__ = [
    "adaptive_entailment",
    "ancestor_hierarchy",
    "ancestor_triplets",
    "at_patches",
    "bit_balance",
    "calibration",
    "code_mse",
    "cosine",
    "cross_ranking",
    "cross_relational_kd",
    "distance_margin",
    "entailment",
    "feature_distance",
    "griesmer_threshold",
    "info_nce",
    "interactive_kd",
    "irrelevant_margin",
    "label_contrast",
    "linear_warmup",
    "memory_contrast",
    "pairwise_likelihood",
    "pixel_error",
    "proxy_margin",
    "quantization",
    "radius_floor",
    "radius_mse",
    "reciprocal_triplets",
    "relational_kd",
    "resample_grid",
    "row_nce",
    "scaled_logits",
    "shared_label",
    "similarity_mse",
    "softened_entailment",
    "softness",
    "squared_distance",
    "symmetric_bernoulli_kl",
    "uncertainty",
]
