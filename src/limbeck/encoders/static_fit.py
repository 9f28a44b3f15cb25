"""Fit the table of a static text tower to the outputs of a teacher: ridge regression over a token table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from limbeck.encoders.static import StaticTable, token_weights
from limbeck.encoders.tokenizer import PAD
from limbeck.preprocess.text import UNKNOWN

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# How vocabularies mark what is no whole word: pieces inside a word, or the start or the end of one.
_INSIDE, _STARTS, _ENDS = "##", ("\u2581", "\u0120"), "</w>"
_WORD = re.compile(r"[^\W\d_]{3,}")


def whole_words(vocabulary: dict[str, int]) -> list[str]:
    """Return the words of at least three letters that are single tokens, in lower case, by their ids."""
    ordered = sorted(vocabulary, key=lambda token: vocabulary[token])
    marked = {mark: [t for t in ordered if t.startswith(mark)] for mark in _STARTS}
    ended = [t.removesuffix(_ENDS) for t in ordered if t.endswith(_ENDS)]
    started = [token[1:] for tokens in marked.values() for token in tokens]
    bare = ended or started or [t for t in ordered if not t.startswith(_INSIDE)]
    return list(dict.fromkeys(word.lower() for word in bare if _WORD.fullmatch(word)))


def invented(words: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw phrases for a tower that will read more than its training texts (ours).

    In turn: one to four words, "a photo of a" word, and lists of five to ten words, as tags are.
    """
    rng = np.random.default_rng(seed)

    def some(least: int, most: int) -> str:
        return " ".join(words[i] for i in rng.integers(len(words), size=rng.integers(least, most + 1)))

    kinds = (lambda: some(1, 4), lambda: f"a photo of a {some(1, 1)}", lambda: some(5, 10))
    return [kinds[i % 3]() for i in range(count)]


def train_wordpiece(texts: Sequence[str], size: int) -> tokenizers.Tokenizer:
    """Train a lower-casing WordPiece tokenizer; ids depend on the texts only, not on their order."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=[PAD, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(sorted(texts), trainer)
    return tokenizer


def token_counts(tokenizer: tokenizers.Tokenizer, texts: Sequence[str]) -> csr_matrix:
    """Count the tokens of each text, (N, V) float32."""
    from scipy.sparse import csr_matrix

    found = [text.ids for text in tokenizer.encode_batch(list(texts))]
    rows = np.repeat(np.arange(len(found)), [len(ids) for ids in found])
    columns = np.fromiter((token for ids in found for token in ids), np.int64, len(rows))
    shape = (len(found), tokenizer.get_vocab_size())
    return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)


def fit_table(counts: csr_matrix, targets: np.ndarray, *, penalty: float, rank: int | None) -> StaticTable:
    """Solve min ‖A T + bias - Y‖² + penalty ‖T‖² for the table T, where A weights and averages the tokens.

    The bias is the mean of the targets. Of a table with a ``rank`` its best approximation over these texts is
    returned (reduced-rank regression; Izenman 1975).

    Args:
        counts: token counts (N, V).
        targets: outputs of the teacher Y (N, dim).
        penalty: the weight of the ridge.
        rank: the width of the rows; None keeps ``dim``.
    """
    weight = token_weights(np.asarray(counts.sum(0)).ravel())
    shares = weighted_shares(counts, weight)
    bias = targets.mean(0)
    rows = ridge(shares, targets - bias, penalty)
    if rank is None:
        return StaticTable(rows, weight, bias, None)
    fitted = shares @ rows
    _, vectors = np.linalg.eigh(np.asarray(fitted.T @ fitted, np.float64))
    basis = vectors[:, ::-1][:, :rank].astype(np.float32)
    return StaticTable(rows @ basis, weight, bias, basis)


def weighted_shares(counts: csr_matrix, weight: np.ndarray) -> csr_matrix:
    """Return each token's share of the weighted mean of a text; rows sum to 1, or to 0 without a token."""
    from scipy.sparse import diags

    weighted = (counts @ diags(weight)).tocsr()
    total = np.asarray(weighted.sum(1)).ravel()
    return (diags((1 / np.maximum(total, 1e-9)).astype(np.float32)) @ weighted).tocsr()


def ridge(
    a: csr_matrix, y: np.ndarray, penalty: float, *, steps: int = 100, error: float = 1e-3
) -> np.ndarray:
    """Solve (AᵀA + penalty) X = AᵀY by conjugate gradients, all columns at once.

    The diagonal is the preconditioner, as tokens differ in frequency by orders of magnitude. It ends when
    the residual is ``error`` of its start.
    """
    transposed = a.T.tocsr()
    diagonal = np.asarray(a.multiply(a).sum(0)).ravel()[:, None] + np.float32(penalty)
    residual = np.asarray(transposed @ y, np.float32)
    x = np.zeros_like(residual)
    enough = error * np.linalg.norm(residual)
    scaled = residual / diagonal
    direction, size = scaled, (residual * scaled).sum(0)
    for _ in range(steps):
        image = transposed @ (a @ direction) + np.float32(penalty) * direction
        step = size / np.maximum((direction * image).sum(0), 1e-30)
        x += step * direction
        residual = residual - step * image
        if np.linalg.norm(residual) <= enough:
            break
        scaled = residual / diagonal
        before, size = size, (residual * scaled).sum(0)
        direction = scaled + size / np.maximum(before, 1e-30) * direction
    return x
