"""Train a small transformer to give a teacher's outputs for texts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import tokenizers
import torch
from tokenizers import processors

from limbeck.encoders.config import ClipTextConfig
from limbeck.encoders.device import find_device
from limbeck.encoders.encode import even_blocks
from limbeck.encoders.static_fit import vocabulary
from limbeck.encoders.text import ClipTextBackbone
from limbeck.encoders.tokenizer import END, PAD, START
from limbeck.preprocess.text import UNKNOWN
from limbeck.training.precision import half_where_fast

TOKENS, CONTEXT, BATCH = 16_000, 64, 256
RATE, WARM_UP = 2e-3, 0.05
"""The largest step of Adam, and the share of the steps in which it rises; it then falls linearly."""


def fit_transformer(
    texts: Sequence[str],
    targets: np.ndarray,
    pieces: tokenizers.Tokenizer | None,
    *,
    width: int,
    layers: int,
    epochs: int,
    seed: int,
) -> ClipTextBackbone:
    """Minimise the mean squared error of a transformer's projection over the texts.

    Args:
        texts: the texts.
        targets: outputs of the teacher (N, dim).
        pieces: the teacher's WordPiece tokenizer, whose tokens the transformer shares; None trains one.
        width: the width of the transformer, a multiple of 32.
        layers: the number of layers.
        epochs: the number of passes over the texts.
        seed: draws the weights and shuffles the texts.
    """
    tokenizer = vocabulary(texts, TOKENS, pieces, (UNKNOWN, START, END, PAD))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(t, tokenizer.token_to_id(t)) for t in (START, END)]
    )
    torch.manual_seed(seed)
    config = ClipTextConfig(projection=True, context=CONTEXT, width=width, layers=layers, heads=width // 32)
    backbone = ClipTextBackbone(config)
    backbone.make(tokenizer, targets.shape[1])
    device = find_device(None)
    backbone.to(device).train()
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    lengths = np.array([len(text.ids) for text in tokenizer.encode_batch(list(texts))])
    batches = [part for epoch in range(epochs) for part in _similar(lengths, seed, epoch)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=max(2, len(batches)), pct_start=WARM_UP, anneal_strategy="linear"
    )
    for batch in batches:
        inputs = backbone.collate([texts[row] for row in batch.tolist()])
        with half_where_fast(device) or contextlib.nullcontext():
            output = backbone({name: x.to(device) for name, x in inputs.items()})
        wanted = torch.from_numpy(targets[batch]).to(device)
        loss = (output.float() - wanted).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return backbone.cpu()


def _similar(lengths: np.ndarray, *seeds: int) -> list[np.ndarray]:
    """Return shuffled batches of texts of similar length."""
    rng = np.random.default_rng(seeds)
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    blocks = even_blocks(order, BATCH)
    return [blocks[i] for i in rng.permutation(len(blocks))]
