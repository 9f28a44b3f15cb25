"""Fit the table of a static text tower to the outputs of a teacher: ridge regression over a token table."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from limbeck.encoders.static import Ball, StaticTable, token_weights
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


def invented(words: Sequence[str], texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw texts for a tower that will read more than its training texts (ours).

    First comes each word alone. Then come, in turn: "a photo of a" word, one to four words, two lists as tags
    are (two to eight words, some of them compounds), the ends of two texts, and a text with other words.

    Args:
        words: the words, frequent ones first.
        texts: the training texts.
        count: the number of texts to draw.
        seed: draws them.
    """
    rng = np.random.default_rng(seed)

    def word() -> str:
        """Draw frequent words more often than rare ones: half of all draws spread evenly over log ranks."""
        place = len(words) ** rng.uniform(0.5, 1) - 1 if rng.random() < 0.5 else rng.integers(len(words))
        return words[int(place)]

    def some(least: int, most: int, compounds: float = 0) -> str:
        size = rng.integers(least, most + 1)
        return " ".join(word() + word() if rng.random() < compounds else word() for _ in range(size))

    def text() -> list[str]:
        return texts[int(rng.integers(len(texts)))].split()

    def joined() -> str:
        one, other = text(), text()
        return " ".join([*one[: rng.integers(1, len(one) + 1)], *other[-rng.integers(1, len(other) + 1) :]])

    def changed() -> str:
        return " ".join(word() if len(own) > 3 and rng.random() < 0.4 else own for own in text())

    kinds = (
        lambda: f"a photo of a {word()}",
        lambda: some(1, 4),
        lambda: some(2, 8, 0.15),
        lambda: some(2, 8, 0.15),
        joined,
        changed,
    )
    drawn = (kinds[i % len(kinds)]() for i in range(max(0, count - len(words))))
    return [*words[:count], *drawn]


_JOINTS = ("and", "of", "the", "in", "on", "my", "to", "a")


def invented_tags(vocabulary: dict[str, int], words: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw lists as tags of photographs are (ours): three in four of 2 to 14 tags, the others of 1 to 3.

    A tag is a word, a compound of two or three words, a token with pieces of words behind it (as names and
    words of other languages look to the teacher), or a number or code (a year, a camera). Each list draws
    how many of each kind it has.

    Args:
        vocabulary: of a WordPiece teacher, by ids in the order of frequency; words take the place of others.
        words: the words, frequent ones first.
        count: the number of lists.
        seed: draws them.
    """
    rng = np.random.default_rng(21 + seed)
    ordered = sorted(vocabulary, key=lambda token: vocabulary[token])
    inside = [token.removeprefix(_INSIDE) for token in ordered if token.startswith(_INSIDE)]
    pieces = [piece for piece in inside if re.fullmatch("[a-z]+", piece)] or words
    starts = [token for token in ordered if pieces is not words and re.fullmatch("[a-z]{2,}", token)] or words

    def one(given: Sequence[str]) -> str:
        return given[
            int(len(given) ** rng.uniform(0.5, 1) - 1 if rng.random() < 0.5 else rng.integers(len(given)))
        ]

    def compound() -> str:
        kind = rng.random()
        if kind < 0.6:
            return one(words) + one(words)
        return one(words) + (_JOINTS[rng.integers(8)] if kind < 0.8 else one(words)) + one(words)

    def letter() -> str:
        return string.ascii_lowercase[rng.integers(26)]

    def code() -> str:
        kind, number = rng.random(), str(int(10 ** rng.uniform(0, 4)))
        if kind < 0.3:
            return number
        if kind < 0.5:
            return str(rng.integers(1980, 2030))
        if kind < 0.85:
            return "".join(letter() for _ in range(1 if kind < 0.7 else 2)) + number
        return number + letter() + (letter() if rng.random() < 0.5 else "")

    def tag(shares: Sequence[float]) -> str:
        kind = rng.random()
        if kind < shares[0]:
            return compound()
        if kind < shares[1]:
            return one(starts) + "".join(one(pieces) for _ in range(rng.integers(1, 4)))
        return code() if kind < shares[2] else one(words)

    def tags(least: int, most: int) -> str:
        shares = list(itertools.accumulate(rng.uniform(0, most_) for most_ in (0.4, 0.4, 0.1)))
        return " ".join(tag(shares) for _ in range(rng.integers(least, most + 1)))

    short = count // 4
    return [*(tags(2, 14) for _ in range(count - short)), *(tags(1, 3) for _ in range(short))]


def vocabulary(
    texts: Sequence[str],
    size: int,
    base: tokenizers.Tokenizer | None,
    special: Sequence[str] = (UNKNOWN, PAD),
) -> tokenizers.Tokenizer:
    """Return a WordPiece tokenizer of the characters and the most frequent tokens of a larger one.

    Its ids follow the frequency in the texts, so that the first tokens are the most frequent ones.

    Args:
        texts: the texts.
        size: the largest number of tokens.
        base: the larger one; None trains one on the texts, which lower-cases them.
        special: the last tokens.
    """
    found = base or train_wordpiece(texts, size)
    counts = np.zeros(found.get_vocab_size(), np.int64)
    for text in found.encode_batch(list(texts), add_special_tokens=False):
        np.add.at(counts, text.ids, 1)
    letters = set("".join(texts).lower()) | set(string.printable)
    order = sorted(found.get_vocab().items(), key=lambda item: (-counts[item[1]], item[1]))
    ordered = [token for token, place in order if token not in special]
    single = {token for token in ordered if token.removeprefix(_INSIDE) in letters}
    longer = [token for token in ordered if token not in single and counts[found.token_to_id(token)]]
    kept = single.union(longer[: max(0, size - len(special) - len(single))])
    names = [*[token for token in ordered if token in kept][: size - len(special)], *special]
    small = tokenizers.Tokenizer(models.WordPiece({t: i for i, t in enumerate(names)}, unk_token=UNKNOWN))
    small.normalizer, small.pre_tokenizer = found.normalizer, found.pre_tokenizer
    return small


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


def fit_table(counts: csr_matrix, targets: np.ndarray, *, penalty: float) -> StaticTable:
    """Solve min ‖A T + bias - Y‖² + penalty ‖T‖² for the table T, where A weights and averages the tokens.

    The bias is the mean of the targets.

    Args:
        counts: token counts (N, V).
        targets: outputs of the teacher Y (N, dim).
        penalty: the weight of the ridge.
    """
    weight = token_weights(np.asarray(counts.sum(0)).ravel())
    bias = targets.mean(0)
    rows = ridge(weighted_shares(counts, weight), targets - bias, penalty)
    return StaticTable(rows, weight, bias, ball_of(targets))


def ball_of(targets: np.ndarray) -> Ball | None:
    """Return the sphere on which all targets (N, dim) lie, or None where they lie on no sphere.

    ‖y‖² = 2 c·y + r² - ‖c‖² is linear in the centre c and in r² - ‖c‖². Fewer than two targets per dimension
    always lie on one, so the result says nothing.
    """
    count, dim = targets.shape
    if count < 2 * (dim + 1):
        return None
    points = np.column_stack([2 * targets, np.ones(count)]).astype(np.float64)
    squares = np.square(targets, dtype=np.float64).sum(1)
    found = np.linalg.lstsq(points.T @ points, points.T @ squares, rcond=1e-10)[0]
    centre = found[:-1]
    radius = float(np.sqrt(max(0.0, found[-1] + centre @ centre)))
    lengths = np.linalg.norm(targets - centre, axis=1)
    if not np.abs(lengths - radius).max() < 1e-2 * radius:
        return None
    return Ball(centre.astype(np.float32), radius)


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
