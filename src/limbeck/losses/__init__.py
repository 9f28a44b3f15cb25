"""Losses: tensors in, scalar out. They know no encoder, no method and no process group."""

from limbeck.losses.contrastive import info_nce
from limbeck.losses.hashing import agreement, bit_balance, pairwise_likelihood, quantization, shared_label

__all__ = ["agreement", "bit_balance", "info_nce", "pairwise_likelihood", "quantization", "shared_label"]
